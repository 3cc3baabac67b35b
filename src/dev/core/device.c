/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device's life, as device.h tells it. */
#include "dev/core/device.h"

#include "dev/core/property.h"

struct device *device_new(const struct device_class *class, const char *id, struct vm *vm)
{
	g_assert(class->size >= sizeof(struct device));
	struct device *dev = g_malloc0(class->size);
	dev->class = class;
	dev->id = g_strdup(id);
	dev->vm = vm;
	const struct property *tables[] = {class->bus_properties, class->properties};
	for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++) {
		for (const struct property *p = tables[t]; p && p->name; p++) {
			g_autoptr(GError) error = NULL;
			if (p->initial && !property_parse(p, dev, p->initial, NULL, &error))
				g_error("the default of %s.%s is wrong: %s", class->name, p->name,
					error->message);
		}
	}
	return dev;
}

static const struct property *find_in(const struct property *p, const char *name)
{
	for (; p && p->name; p++)
		if (g_str_equal(p->name, name))
			return p;
	return NULL;
}

static const struct property *find(const struct device_class *class, const char *name)
{
	const struct property *p = find_in(class->properties, name);
	return p ? p : find_in(class->bus_properties, name);
}

static const char *nearest_property(const struct device_class *class, const char *name)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const struct property *tables[] = {class->properties, class->bus_properties};
	for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++)
		for (const struct property *p = tables[t]; p && p->name; p++)
			g_ptr_array_add(names, (char *)p->name);
	g_ptr_array_add(names, NULL);
	return nearest_name(name, (const char *const *)names->pdata);
}

bool device_set(struct device *dev, const char *name, const char *value,
		const struct device_resolver *resolver, GError **error)
{
	const struct property *p = find(dev->class, name);
	if (!p) {
		const char *near = nearest_property(dev->class, name);
		if (near)
			return error_set(error, BERTH_ERR_INVALID,
					 "the device %s has no property '%s'; did you mean '%s'?",
					 dev->class->name, name, near);
		return error_set(error, BERTH_ERR_INVALID,
				 "the device %s has no property '%s'; see -device %s,help",
				 dev->class->name, name, dev->class->name);
	}
	if (property_parse(p, dev, value, resolver, error))
		return true;
	g_prefix_error(error, "property '%s' of the device %s: ", name, dev->class->name);
	return false;
}

char *device_get(const struct device *dev, const char *name)
{
	const struct property *p = find(dev->class, name);
	return p ? property_format(p, dev) : NULL;
}

char *device_class_help(const struct device_class *class)
{
	GString *text = g_string_new(NULL);
	const struct property *tables[] = {class->properties, class->bus_properties};
	for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++)
		for (const struct property *p = tables[t]; p && p->name; p++)
			property_describe(p, text);
	return g_string_free(text, FALSE);
}

bool device_realize(struct device *dev, GError **error)
{
	const struct device_class *class = dev->class;
	if ((class->open && !class->open(dev, error)) ||
	    (class->create && !class->create(dev, error))) {
		if (dev->id)
			g_prefix_error(error, "device %s (%s): ", dev->id, class->name);
		else
			g_prefix_error(error, "device %s: ", class->name);
		return false;
	}
	dev->created = true;
	device_reset(dev);
	return true;
}

void device_reset(struct device *dev)
{
	if (dev->class->reset)
		dev->class->reset(dev);
}

void device_start(struct device *dev)
{
	if (dev->class->start)
		dev->class->start(dev);
}

void device_stop(struct device *dev)
{
	if (dev->class->stop)
		dev->class->stop(dev);
}

void device_free(struct device *dev)
{
	if (!dev)
		return;
	if (dev->class->destroy)
		dev->class->destroy(dev);
	const struct property *tables[] = {dev->class->properties, dev->class->bus_properties};
	for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++)
		for (const struct property *p = tables[t]; p && p->name; p++)
			property_clear(p, dev);
	g_free(dev->id);
	g_free(dev);
}
