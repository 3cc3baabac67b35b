/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mutexes held for the rest of a scope. */
#pragma once

#include <pthread.h>

static inline void lock_release(pthread_mutex_t **lock)
{
	if (*lock)
		pthread_mutex_unlock(*lock);
}

static inline pthread_mutex_t *lock_acquire(pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	return lock;
}

#define LOCK_NAME_(line) scope_lock_##line
#define LOCK_NAME(line)  LOCK_NAME_(line)

/* LOCK_SCOPE(&m): take the mutex now, release it when the enclosing scope ends. */
#define LOCK_SCOPE(mutex)                                                                          \
	__attribute__((cleanup(lock_release), unused)) pthread_mutex_t *LOCK_NAME(__LINE__) =      \
		lock_acquire(mutex)
