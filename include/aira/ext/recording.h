/* aira/ext/recording.h - service "aira.recording/1": answers of earlier runs, by request. */
#ifndef AIRA_EXT_RECORDING_H
#define AIRA_EXT_RECORDING_H

#include "../agent.h"

#define AIRA_SERVICE_RECORDING "aira.recording/1"

typedef struct aira_recording_service {
    uint32_t size, minor;
    void *core;
    /* Answer to a request from a run directory, its journal, or a JSONL file of {"request": hash, "text": "..."} or
       {"text": "..."} lines (the latter are taken in node order). Copies into the sink. AIRA_E_FAILED, with a sentence,
       where the recording holds none. */
    aira_status (*answer)(const struct aira_recording_service *, const char *path, const aira_agent_request *request,
                          const aira_sink *sink);
} aira_recording_service;

#endif
