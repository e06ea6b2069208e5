/* core/train/mechanism.h - the source of a mechanism made into a layer: compiled and traced in the sandbox. */
#ifndef AIRA_TRAIN_MECHANISM_H
#define AIRA_TRAIN_MECHANISM_H

#include "core/graph/model.h"
#include "core/train/task.h"

typedef struct aira__mechanism aira__mechanism;

/* Compiles the source and configures it with its own defaults. *cause: "compile", "refused" and "stopped" as
   aira__mechanism_cause, "memory", or "sandbox" where this machine cannot confine foreign code. */
aira_status aira__mechanism_open(const char *source, aira__mechanism **, const char **cause, aira_error *);
void aira__mechanism_close(aira__mechanism *); /* NULL is fine */
/* Its layer: token AIRA__MECHANISM, as primitive "source:" and the hash of the source. The mechanism's. */
const aira__layer *aira__mechanism_layer(const aira__mechanism *);
/* Builds it once, alone, at this width: AIRA_E_FAILED, *cause "trace" (or as below), with its sentence. */
aira_status aira__mechanism_trace(const aira__mechanism *, int64_t width, bool causal, const char **cause,
                                  aira_error *);
/* Why something with it failed: "refused" where the sandbox ended it for a system call that it does not allow,
   "stopped" for a limit on time, memory or output; `otherwise` where the sandbox ended nothing. */
const char *aira__mechanism_cause(const aira__mechanism *, const char *otherwise);

#endif
