/* core/plugin/scan.h - which files may be plugins, in the order that decides who comes first. */
#ifndef AIRA_PLUGIN_SCAN_H
#define AIRA_PLUGIN_SCAN_H

#include "core/plugin/registry.h"

/* problem NULL: path is a file named *.so; else path is a folder and problem says why it was not used. */
typedef aira_status (*aira__scan_found)(void *context, const char *path, const char *problem);
/* An absolute folder or file that the user named, before what it holds. */
typedef aira_status (*aira__scan_named)(void *context, const char *path);

/* Calls found for every file, folders in the order of registry.h, files of a folder by name. Folders that the user
   named on the command line must exist. */
aira_status aira__scan_plugins(const aira__registry_options *, aira__scan_found, aira__scan_named, void *context,
                               aira_error *);

#endif
