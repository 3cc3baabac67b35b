/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON, human-readable trees, sizes and the progress bar. */
#include "output.h"

#include "img.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- order of keys -------------------------------------------------------------------------------- */

/*
 * QEMU 7.2 prints an object in the order of its hash table's 512 chains. People have scripts that
 * read its text line by line, so we keep that order: the chain's number of a key.
 */
static unsigned chain_of(const char *key)
{
	uint32_t value = UINT32_C(0x238f13af) * strlen(key);
	for (unsigned i = 0; key[i]; i++)
		value += (uint32_t)(unsigned char)key[i] << (i * 5 % 24);
	return (UINT32_C(1103515243) * value + 12345) % 512;
}

static int by_chain(const void *a, const void *b)
{
	unsigned x = chain_of(*(const char *const *)a), y = chain_of(*(const char *const *)b);
	return x < y ? -1 : x > y;
}

/* The keys in order; free the array only. */
static const char **sorted_keys(const json_t *object, size_t *count)
{
	const char **keys = g_new(const char *, json_object_size(object) + 1);
	const char *key;
	json_t *value;
	*count = 0;
	json_object_foreach((json_t *)object, key, value)
		keys[(*count)++] = key;
	qsort(keys, *count, sizeof(*keys), by_chain);
	return keys;
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static void print_string(const char *text)
{
	json_t *string = json_string(text);
	g_autofree char *quoted = json_dumps(string, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	printf("%s", quoted ? quoted : "\"\"");
	json_decref(string);
}

static void print_value(const json_t *value, unsigned depth);

static void print_object(const json_t *object, unsigned depth)
{
	size_t count;
	g_autofree const char **keys = sorted_keys(object, &count);
	printf("{");
	for (size_t i = 0; i < count; i++) {
		printf("%s\n%*s", i ? "," : "", 4 * (depth + 1), "");
		print_string(keys[i]);
		printf(": ");
		print_value(json_object_get(object, keys[i]), depth + 1);
	}
	printf("\n%*s}", 4 * depth, "");
}

static void print_array(const json_t *array, unsigned depth)
{
	printf("[");
	for (size_t i = 0; i < json_array_size(array); i++) {
		printf("%s\n%*s", i ? "," : "", 4 * (depth + 1), "");
		print_value(json_array_get(array, i), depth + 1);
	}
	printf("\n%*s]", 4 * depth, "");
}

static void print_value(const json_t *value, unsigned depth)
{
	if (json_is_object(value))
		print_object(value, depth);
	else if (json_is_array(value))
		print_array(value, depth);
	else if (json_is_string(value))
		print_string(json_string_value(value));
	else if (json_is_integer(value))
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		printf("%.17g", json_real_value(value));
	else
		printf("%s", json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
}

void output_json(const json_t *value)
{
	print_value(value, 0);
	printf("\n");
}

/* --- for people ----------------------------------------------------------------------------------- */

char *output_size(uint64_t bytes)
{
	static const char suffixes[][4] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
	int exponent = 0;
	/* The unit changes where four digits would be needed: at 1000, not at 1024. */
	frexp((double)bytes / (1000.0 / 1024.0), &exponent);
	unsigned unit = exponent > 0 ? MIN((unsigned)(exponent - 1) / 10, 6) : 0;
	double value = (double)bytes / (double)(UINT64_C(1) << (unit * 10));
	return g_strdup_printf("%0.3g %sB", value, suffixes[unit]);
}

static void print_leaf(const json_t *value)
{
	if (json_is_string(value))
		printf("%s\n", json_string_value(value));
	else if (json_is_integer(value))
		printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
	else
		printf("%s\n", json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
}

static void print_item(const char *name, const json_t *value, unsigned indent)
{
	bool nested = json_is_object(value) || json_is_array(value);
	printf("%*s%s:%s", 4 * indent, "", name, nested ? "\n" : " ");
	if (nested)
		output_human(value, indent + 1);
	else
		print_leaf(value);
}

void output_human(const json_t *value, unsigned indent)
{
	for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++) {
		g_autofree char *name = g_strdup_printf("[%zu]", i);
		print_item(name, json_array_get(value, i), indent);
	}
	if (!json_is_object(value))
		return;
	size_t count;
	g_autofree const char **keys = sorted_keys(value, &count);
	for (size_t i = 0; i < count; i++) {
		g_autofree char *name = g_strdelimit(g_strdup(keys[i]), "-", ' ');
		print_item(name, json_object_get(value, keys[i]), indent);
	}
}

bool output_parse(const char *text, enum output_format *format)
{
	*format = text && g_str_equal(text, "json") ? OUTPUT_JSON : OUTPUT_HUMAN;
	if (!text || *format == OUTPUT_JSON || g_str_equal(text, "human"))
		return true;
	img_fail("--output must be used with human or json as argument.");
	return false;
}

/* --- progress ------------------------------------------------------------------------------------- */

/* Set by SIGUSR1, as with dd: the only thing a signal handler may touch. */
static volatile sig_atomic_t asked;

static void on_usr1(int number)
{
	asked = 1;
}

static void show(double percent)
{
	printf("    (%3.2f/100%%)\r", percent);
	fflush(stdout);
}

void progress_start(struct progress *progress, bool shown)
{
	*progress = (struct progress){.shown = shown, .last = 0};
	struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_RESTART};
	if (shown)
		show(0);
	else
		sigaction(SIGUSR1, &action, NULL);
}

void progress_update(struct progress *progress, double percent)
{
	bool step = percent - progress->last >= 1 || (percent >= 100 && progress->last < 100);
	if (step)
		progress->last = percent;
	if (progress->shown && step)
		show(percent);
	if (!progress->shown && asked) {
		asked = 0;
		fprintf(stderr, "    (%3.2f/100%%)\n", percent);
	}
}

void progress_end(struct progress *progress)
{
	if (!progress->shown)
		return;
	show(100);
	printf("\n");
}
