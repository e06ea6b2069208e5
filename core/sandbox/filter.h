/* core/sandbox/filter.h - the filter on system calls that foreign code runs under, as a program for the kernel.
 *
 * What could reach another process, another name space, the network, the kernel's own memory or memory that no limit
 * counts is answered with death of the process, so that an attempt has a cause. clone3 does not exist, so that the C
 * library falls back to clone, whose flags can be read. The strict form also forbids new programs, processes, threads
 * and signals: what a build function needs is memory and one write.
 */
#ifndef AIRA_SANDBOX_FILTER_H
#define AIRA_SANDBOX_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#define AIRA__FILTER_MAX 512

/* Fills program and returns how many instructions it has; 0 where this processor is not known to the filter. */
size_t aira__filter_build(bool strict, struct sock_filter program[AIRA__FILTER_MAX]);
/* Puts this process under the filter; 0, or -1 with errno. For good. */
int aira__filter_install(bool strict);

#endif
