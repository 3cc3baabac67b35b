/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/library.h"

#include "base/error.h"

#include <dlfcn.h>

static void *open_first(const struct library *library)
{
	void *handle = NULL;
	for (unsigned i = 0; !handle && i < G_N_ELEMENTS(library->files) && library->files[i]; i++)
		handle = dlopen(library->files[i], RTLD_NOW | RTLD_LOCAL);
	return handle;
}

static bool load(struct library *library, GError **error)
{
	void *handle = open_first(library);
	if (!handle)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "this needs %s, which is not there: install the package %s",
				 library->files[0], library->package);
	for (unsigned i = 0; i < LIBRARY_FUNCTIONS_MAX && library->names[i]; i++) {
		library->functions[i] = dlsym(handle, library->names[i]);
		if (library->functions[i])
			continue;
		dlclose(handle);
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s has no function %s: install a newer package %s",
				 library->files[0], library->names[i], library->package);
	}
	if (library->init)
		library->init();
	return true;
}

bool library_load(struct library *library, GError **error)
{
	g_autoptr(GMutexLocker) locked = g_mutex_locker_new(&library->lock);
	(void)locked;
	if (!library->loaded)
		library->loaded = load(library, error);
	return library->loaded;
}
