/* core/search/sdk.h - what a prompt shows of the SDK to whoever writes a primitive. */
#ifndef AIRA_SEARCH_SDK_H
#define AIRA_SEARCH_SDK_H

/* The headers, whole; made by cmake/airaSdkText.cmake. */
extern const char aira__header_abi[], aira__header_graph[], aira__header_primitive[];

/* The declarations that a primitive needs: shapes, parameters, the table of operations, the primitive's own table.
   malloc'ed; NULL when out of memory. */
char *aira__sdk_header(void);
/* One line per operation of the op table that a primitive may compose, with its shapes: "- `softmax` (x): along the
   last axis". malloc'ed; NULL when out of memory. */
char *aira__sdk_operations(void);

#endif
