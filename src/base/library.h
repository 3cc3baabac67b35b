/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Libraries that are loaded when they are needed: what few use costs neither start-up
 * time nor memory, and a machine without the library runs all the rest. A file has one, `library`,
 * and calls its functions through a struct of pointers:
 *
 *	#define NFS_FUNCTIONS(F) F(nfs_init_context) F(nfs_mount)
 *	LIBRARY(nfs, NFS_FUNCTIONS, .package = "libnfs13", .files = {"libnfs.so.13"})
 *	... nfs.nfs_init_context() ...
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define LIBRARY_FUNCTIONS_MAX 48

#define LIBRARY_POINTER(name) __typeof__(name) *name;
#define LIBRARY_NAME(name)    #name,
#define LIBRARY(pointers, list, ...)                                                               \
	static struct {                                                                            \
		list(LIBRARY_POINTER)                                                              \
	} pointers;                                                                                \
	static struct library library = {.names = {list(LIBRARY_NAME)},                            \
					 .functions = (void **)&pointers, __VA_ARGS__};

struct library {
	const char *files[3];  /* the first that loads is taken */
	const char *package;   /* of Debian, for the error message */
	const char *names[LIBRARY_FUNCTIONS_MAX];
	void **functions;      /* as many as names */
	void (*init)(void);    /* once, after loading; may be NULL */
	GMutex lock;
	bool loaded;
};

/* Any thread; the first call loads, and the library stays until the process ends. */
bool library_load(struct library *library, GError **error);
