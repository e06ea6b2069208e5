/* core/report/internal.h - what the files of core/report share: a run read into memory, and how pieces of a page are
 * written.
 *
 * Text read from the journal is made valid UTF-8 without control characters on the way in (read.c), escaped on the way
 * out (html.c, csv.c), and reaches the page's script only as JSON whose `<` are written \u003c.
 */
#ifndef AIRA_REPORT_INTERNAL_H
#define AIRA_REPORT_INTERNAL_H

#include <jansson.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/report/report.h"

typedef struct report_search {
    int64_t id, seed, parallel;
    const char *agent, *scaffold; /* canonical JSON, or a name */
    const char *label, *state, *reason;
    int first, n; /* its nodes */
    int64_t input_tokens, output_tokens, calls, failed_calls;
} report_search;

typedef struct report_node {
    int search;                                      /* index, not id */
    int64_t idx, parent, other_parent, duplicate_of; /* -1: none */
    int64_t seed;                                    /* of the training behind its scores */
    const char *operator_name, *status, *hash, *architecture, *note,
        *cause;                           /* hash, architecture, note, cause: "" if none */
    double search_score, selection_score; /* NAN */
    int evaluation;                       /* index of one with a curve, -1 */
    uint16_t *layers;
    int n_layers; /* 0: no architecture */
} report_node;

typedef struct report_evaluation {
    const char *hash, *purpose, *status, *cause, *curve; /* curve: JSON or "" */
    int64_t seed, parameters;                            /* parameters -1 */
    double search_score, selection_score, test_score, seconds, flops;
} report_evaluation;

typedef struct report_data {
    sqlite3 *db;
    const char *run_dir;
    report_search *searches;
    report_node *nodes;             /* by search, then idx */
    report_evaluation *evaluations; /* by hash */
    int n_searches, n_nodes, n_evaluations;
    char **tokens;
    int n_tokens;
    json_t *study;        /* key -> text */
    json_t *results;      /* [{"kind", "name", "value"}] */
    json_t *aggregated;   /* those with "by" and "support" */
    json_t *extrapolated; /* those with "to" and "by" */
    bool higher_is_better;
    const char *metric;    /* "score" where the study does not say */
    double *ranked_scores; /* of ranked: means over seeds */
    int *ranked;           /* distinct good nodes with a selection (else search) score, best first */
    int n_ranked;
    int best, submitted; /* nodes by search score and by selection score, -1 */
    int *cluster;        /* n_cluster nodes of the top cluster: the head of ranked */
    int n_cluster;
    int64_t requests, failed_requests, input_tokens, output_tokens;
    double money_usd, device_seconds, flops, wall_seconds; /* NAN: unknown */
    struct report_chunk *memory;
} report_data;

/* read.c */
aira_status report_read(sqlite3 *db, const char *run_dir, report_data *, aira_error *);
void report_release(report_data *);
char *report_keep(report_data *,
                  const char *text); /* cleaned copy that lives as long as the data; NULL: out of memory */
const report_evaluation *report_find_evaluations(const report_data *, const char *hash,
                                                 int *n); /* all of a candidate */
/* Name of an agent or scaffold: its `use`, and its model where it has one. Copies into text. */
void report_plugin_name(const char *json, char *text, size_t size);

/* facts.c: what the report says, as report.json */
json_t *report_facts(const report_data *);
typedef struct report_seeds { /* one candidate, all its seeds */
    int n;
    double mean, deviation; /* of selection scores, else search scores; deviation NAN for n < 2 */
} report_seeds;
report_seeds report_seeds_of(const report_data *, const char *hash);
/* Of single trainings around their candidate's mean, over all candidates trained with several seeds; *n of these. NAN:
 * none. */
double report_seed_deviation(const report_data *, int *n);
double report_median_score(const report_data *);             /* of ranked; NAN if none */
double report_rank_score(const report_node *);               /* selection score, else search score */
bool report_better(const report_data *, double a, double b); /* NAN is worst */

/* csv.c */
bool report_csv(const report_data *, aira__buf *);

/* text.c: escaped and formatted text */
void report_escape(aira__buf *, const char *text);         /* for HTML text and attribute values */
void report_number(aira__buf *, double value, int digits); /* "-" for NAN */
void report_grouped(aira__buf *, double value);            /* 12,345 */
void report_millions(aira__buf *, double value);           /* 1,000.3 M */
void report_duration(aira__buf *, double seconds);         /* 1 h 4 min, 12.3 s */
bool report_json_in_html(aira__buf *, const json_t *);     /* safe inside <script type="application/json"> */

/* charts.c: inline SVG */
void report_strip(aira__buf *, const report_data *, const uint16_t *layers, int n, const double *support);
void report_strip_text(aira__buf *, const report_data *, const char *architecture, const json_t *support);
void report_progress_chart(aira__buf *, const report_data *);
void report_tree_chart(aira__buf *, const report_data *, int search);
void report_cluster_map(aira__buf *, const report_data *);
void report_optimism_chart(aira__buf *, const report_data *);

/* data.c: what the page's script needs to show a node */
json_t *report_node_data(report_data *);

/* html.c, style.c, script.c */
bool report_html(report_data *, const json_t *facts, aira__buf *);
extern const char *const report_style[];  /* lines, NULL-terminated */
extern const char *const report_script[]; /* lines, NULL-terminated */

#endif
