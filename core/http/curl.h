/* core/http/curl.h - libcurl, loaded when the first request is made.
 *
 * It brings thirty libraries with it, which cost every start of the program about 20 ms; a worker process that is
 * started for one evaluation never needs them. Types and constants are those of its header.
 */
#ifndef AIRA_HTTP_CURL_H
#define AIRA_HTTP_CURL_H

#include <curl/curl.h>

#include "core/base/error.h"

/* clang-format off */
#define AIRA__CURL_FUNCTIONS(X) \
    X(global_init) X(version_info) X(easy_init) X(easy_setopt) X(easy_getinfo) X(easy_cleanup) X(easy_strerror) \
    X(multi_init) X(multi_cleanup) X(multi_add_handle) X(multi_remove_handle) X(multi_perform) X(multi_info_read) \
    X(multi_poll) X(multi_wakeup) X(slist_append) X(slist_free_all) X(url) X(url_set) X(url_get) X(url_cleanup) X(free)
/* clang-format on */

typedef struct aira__curl {
#define AIRA__CURL_MEMBER(name) __typeof__(curl_##name) *name;
    AIRA__CURL_FUNCTIONS(AIRA__CURL_MEMBER)
#undef AIRA__CURL_MEMBER
} aira__curl;

/* Loaded and set up once per process, valid for ever. NULL with a sentence where it cannot be had. [any thread] */
const aira__curl *aira__curl_get(aira_error *);

#endif
