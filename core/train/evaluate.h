/* core/train/evaluate.h - one evaluation: a candidate is trained on every proxy of a task with one seed, then scored.
 *
 * The candidate never computes its own score: training reads split train, a curve's score comes from split search, and
 * each wanted split is opened once, at the end of a proxy's training.
 */
#ifndef AIRA_TRAIN_EVALUATE_H
#define AIRA_TRAIN_EVALUATE_H

#include "aira/device.h"
#include "core/train/task.h"
#include "core/train/training.h"

typedef struct aira__proxy_result {
    const char *name;                   /* the task's */
    aira__scores scores[AIRA_N_SPLITS]; /* .rows is 0 for splits that were not wanted */
    aira__curve curve;
    int64_t steps, parameters;
    double seconds, flops; /* flops: of the whole training */
    double flops_per_step;
} aira__proxy_result;

typedef struct aira__evaluation {
    aira_status status; /* AIRA_OK: every proxy ran to its end */
    const char *cause;  /* "nan", "memory", "build", "data", "timeout"; NULL where ok */
    char error[2048];
    double score[AIRA_N_SPLITS]; /* weighted means, NAN where not wanted or failed */
    aira__proxy_result *proxies; /* n_proxies of the task; curves are kept whatever happened */
    int n_proxies;
    double seconds, flops;
    int64_t steps, parameters; /* parameters: of the largest of the models */
    char data_hash[65];        /* of what the data sets handed out first */
} aira__evaluation;

typedef struct aira__evaluate_options {
    const aira__task *task;
    const uint16_t *layers; /* token indices */
    int n_layers;
    uint64_t seed;
    bool splits[AIRA_N_SPLITS]; /* wanted at the end; [AIRA_SPLIT_TRAIN] is ignored */
    const aira_device *device;
    void *device_self;
    const aira_device_queue *queue; /* of the device, whose self is a queue; NULL: it has none */
    const aira_host *host;
    double seconds; /* wall limit of the evaluation; 0: none */
    /* Called now and then with what is known so far; non-zero stops with AIRA_E_CANCELLED. May be NULL. */
    int (*progress)(void *context, const aira__evaluation *so_far, int proxy, int64_t step, int64_t steps);
    void *context;
} aira__evaluate_options;

/* Fills out even when it fails; the status is out->status. Release in any case. */
aira_status aira__evaluate(const aira__evaluate_options *, aira__evaluation *out, aira_error *);
void aira__evaluation_release(aira__evaluation *);

/* The "proxies" array of docs/contract.md 2; split: the one whose scores are shown. */
json_t *aira__evaluation_proxies(const aira__evaluation *, const aira__task *, uint32_t split);

/* The worker (docs/contract.md 4): reads FOLDER/lease.json, writes <id>.json and <id>.part.json beside it. AIRA_OK when
   every evaluation has a result file, failed ones included. */
aira_status aira__worker_run(const char *folder, aira_error *);

#endif
