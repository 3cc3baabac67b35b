/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small readers of sysfs and of what udev keeps beside it. */
#include "daemon/nodedev/nodedev.h"

#include <string.h>

char *sysfs_text(const char *path, const char *name)
{
	g_autofree char *file = g_build_filename(path, name, NULL);
	char *text = NULL;
	/* Some attributes cannot be read just now, as the speed of a link that is down. */
	if (!g_file_get_contents(file, &text, NULL, NULL))
		return NULL;
	return g_strstrip(text);
}

bool sysfs_number(const char *path, const char *name, uint64_t *number)
{
	g_autofree char *text = sysfs_text(path, name);
	char *end;
	if (!text || !g_ascii_isdigit(*text))
		return false;
	*number = g_ascii_strtoull(text, &end, 0);
	return !*end;
}

char *sysfs_link_name(const char *path, const char *name)
{
	g_autofree char *file = g_build_filename(path, name, NULL);
	g_autofree char *target = g_file_read_link(file, NULL);
	return target ? g_path_get_basename(target) : NULL;
}

/* The value of the line that begins with `key`, or NULL. */
static char *line_value(const char *text, const char *key)
{
	for (size_t length = strlen(key); text && *text; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (strncmp(text, key, length) == 0)
			return g_strndup(text + length, strcspn(text + length, "\n"));
	}
	return NULL;
}

char *sysfs_uevent(const char *path, const char *key)
{
	g_autofree char *text = sysfs_text(path, "uevent"), *begin = g_strconcat(key, "=", NULL);
	return line_value(text, begin);
}

char *udev_property(const char *path, const char *key)
{
	g_autofree char *number = sysfs_text(path, "dev");
	if (!number)
		return NULL;
	/* Only block devices are asked after so far. */
	g_autofree char *file = g_strdup_printf("/run/udev/data/b%s", number);
	g_autofree char *text = NULL, *begin = g_strdup_printf("E:%s=", key);
	if (!g_file_get_contents(file, &text, NULL, NULL))
		return NULL;
	return line_value(text, begin);
}

void nodedev_leaf(struct xml_writer *w, const char *name, const char *text)
{
	if (text)
		xml_leaf(w, name, text, NULL);
}

void nodedev_number(struct xml_writer *w, const char *name, uint64_t number)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
	xml_leaf(w, name, text, NULL);
}
