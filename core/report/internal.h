/* core/report/internal.h - what the files of core/report share: a run read into memory, and how pieces of a page are
 * written.
 *
 * Text read from the journal is made valid UTF-8 without control characters on the way in (read.c), escaped on the way
 * out (text.c, csv.c), and reaches the page's script only as JSON whose `<` are written \u003c. Large texts (curves,
 * prompts, answers) stay in the journal until somebody wants them.
 */
#ifndef AIRA_REPORT_INTERNAL_H
#define AIRA_REPORT_INTERNAL_H

#include <jansson.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/report/plot.h"
#include "core/report/report.h"

typedef struct report_calls {       /* sums over calls; counts of what nobody told are NAN */
    int64_t calls, failed, retried; /* retried: requests sent beyond the first of a call */
    int64_t unpriced;               /* answered, without a price */
    double input, cached, output, reasoning, money_usd, seconds;
} report_calls;

typedef struct report_search {
    int64_t id, seed, parallel;
    const char *agent, *scaffold; /* canonical JSON, or a name */
    const char *label, *state, *reason, *origin;
    int first, n; /* its nodes */
    int group;
    report_calls calls;
    int64_t trainings; /* that it wanted first, and what they took */
    double device_seconds, flops;
} report_search;

/* Searches that differ in their seed alone: one agent with one scaffold, or one label. */
typedef struct report_group {
    char name[160];
    bool baseline; /* it does not learn from scores: random, one_shot, exhaustive */
    int n;         /* searches */
} report_group;

typedef struct report_node {
    int search;               /* index, not id */
    int parent, other_parent; /* indices of nodes, -1: none */
    int duplicate_of;
    int64_t idx, seed; /* seed: of the training behind its scores */
    const char *operator_name, *status, *hash, *architecture, *note, *cause, *standing; /* "" if none */
    const char *plan, *analysis;                                                        /* hashes of texts, "" */
    const char *decision, *test; /* the scaffold's reason; what the test of a contender said; "" */
    double search_score, selection_score, spread, created, finished; /* NAN */
    int64_t seeds;
    double money_usd; /* of its calls; NAN */
    int evaluation;   /* index of the one to show, -1 */
    uint16_t *layers;
    int n_layers; /* 0: no architecture */
} report_node;

typedef struct report_evaluation {
    int64_t id;
    const char *hash, *purpose, *status, *cause, *error;
    bool curve;               /* the journal has one */
    int64_t seed, parameters; /* parameters -1 */
    double search_score, selection_score, test_score, seconds, flops;
} report_evaluation;

typedef struct report_data {
    sqlite3 *db;
    const char *run_dir;
    report_search *searches;
    report_group *groups;
    report_node *nodes;             /* by search, then idx */
    report_evaluation *evaluations; /* by hash, then purpose, then seed */
    int n_searches, n_groups, n_nodes, n_evaluations;
    char **tokens;
    int n_tokens;
    json_t *study;        /* key -> text */
    json_t *results;      /* [{"kind", "name", "value"}] */
    json_t *aggregated;   /* those with "by" and "support" */
    json_t *extrapolated; /* those with "to" and "by" */
    json_t *final;        /* "F" of docs/contract.md 2, or NULL */
    json_t *openings;     /* [{"time", "text"}]: of the test split */
    json_t *warnings;     /* [{"time", "kind", "text"}]: what happened besides decisions, at most 50 */
    bool higher_is_better;
    const char *metric;    /* "score" where the study does not say */
    double *ranked_scores; /* of ranked: means over searches */
    int *ranked;           /* distinct good nodes with a selection (else search) score, best first */
    int n_ranked;
    int best, submitted; /* nodes by search score and by selection score, -1 */
    int *cluster;        /* n_cluster nodes of the top cluster: the head of ranked */
    int n_cluster;
    report_calls calls;
    double device_seconds, flops, wall_seconds, began; /* NAN: unknown */
    struct report_chunk *memory;
} report_data;

/* read.c: the study, its searches, sums */
aira_status report_read(sqlite3 *db, const char *run_dir, report_data *, aira_error *);
void report_release(report_data *);
/* Cleaned copy that lives as long as the data; NULL: out of memory. */
char *report_keep(report_data *, const char *text);
/* Name of an agent or scaffold: its `use`, and its model where it has one. Copies into text. */
void report_plugin_name(const char *json, char *text, size_t size);
const char *report_study_text(const report_data *, const char *key, const char *fallback);

/* query.c: rows of the journal */
typedef struct report_query {
    report_data *d;
    sqlite3_stmt *statement;
    int step;
    bool memory; /* ran out */
} report_query;
aira_status report_query_open(report_data *, const char *sql, report_query *, aira_error *);
bool report_query_next(report_query *);
aira_status report_query_close(report_query *, aira_error *);
const char *report_query_text(report_query *, int column); /* kept and cleaned; "" for NULL */
int64_t report_query_int(report_query *, int column, int64_t otherwise);
double report_query_real(report_query *, int column); /* NAN for NULL and infinities */
/* Room for one more element of an array of n; false: out of memory. Doubles at powers of two. */
bool report_grow(void *array, int n, size_t element);

/* nodes.c: evaluations and nodes; rank.c: their order */
aira_status report_read_evaluations(report_data *, aira_error *);
aira_status report_read_nodes(report_data *, aira_error *);
int report_token_index(report_data *, const char *token); /* added where it is new; -1: out of memory */
const report_evaluation *report_find_evaluations(const report_data *, const char *hash,
                                                 int *n);    /* all of a candidate */
bool report_rank(report_data *);                             /* false: out of memory */
double report_rank_score(const report_node *);               /* selection score, else search score */
bool report_better(const report_data *, double a, double b); /* NAN is worst */
double report_median_score(const report_data *);             /* of ranked; NAN if none */

/* facts.c, verdict.c: what the report says, as report.json */
json_t *report_facts(const report_data *);
typedef struct report_seeds { /* one candidate, its trainings as searched: not those of the final scoring */
    int n;
    double mean, deviation; /* of selection scores, else search scores; deviation NAN for n < 2 */
    double margin;          /* half of the 95 % interval of the mean, NAN for n < 2 */
} report_seeds;
report_seeds report_seeds_of(const report_data *, const char *hash);
/* Of single trainings around their candidate's mean, over all candidates trained with several seeds; *n of these. NAN:
 * none. */
double report_seed_deviation(const report_data *, int *n);
double report_rank_correlation(const report_data *, int *n); /* Spearman's, search against selection; NAN */
json_t *report_node_fact(const report_data *, int node);     /* null for -1 */
json_t *report_verdict(const report_data *);
json_t *report_calls_json(const report_calls *);
double report_test_score(const report_data *, const char *hash); /* the mean of its tests, NAN */

/* texts.c: the canonical candidate of a node that is a source, a new reference; NULL: it is none */
json_t *report_design(const report_data *, const report_node *);
/* True where the ranked candidates are architectures, so that layers can be shown token by token; also without any. */
bool report_has_layers(const report_data *);

/* csv.c */
bool report_nodes_csv(const report_data *, aira__buf *);
aira_status report_calls_csv(report_data *, aira__buf *, aira_error *);

/* text.c: escaped and formatted text */
void report_escape(aira__buf *, const char *text);         /* for HTML text and attribute values */
void report_number(aira__buf *, double value, int digits); /* significant ones; "–" for NAN */
void report_fixed(aira__buf *, double value, int decimals, bool sign);
void report_grouped(aira__buf *, double value);        /* 12,345 */
void report_short(aira__buf *, double value);          /* 1.23 M, 4.5 G */
void report_millions(aira__buf *, double value);       /* 1,000.3 M */
void report_duration(aira__buf *, double seconds);     /* 1 h 4 min, 12.3 s */
void report_money(aira__buf *, const report_calls *);  /* "1.20 USD", "at least ...", "unknown" */
void report_date(aira__buf *, double seconds);         /* 2026-01-31 12:00:00 UTC */
bool report_json_in_html(aira__buf *, const json_t *); /* safe inside <script type="application/json"> */

/* strips.c: architectures as rows of cells */
#define REPORT_COLOURS 8 /* classes t0 .. t7 and c0 .. c7 */
void report_strip(aira__buf *, const report_data *, const uint16_t *layers, int n, const double *support);
/* Small and without names, for tables that name the architecture beside it. */
void report_mini_strip(aira__buf *, const uint16_t *layers, int n);
void report_strip_text(aira__buf *, const report_data *, const char *architecture, const json_t *support);
void report_cluster_map(aira__buf *, const report_data *);

/* charts.c, progress_chart.c */
typedef enum { REPORT_BY_EVALUATIONS, REPORT_BY_TIME, REPORT_BY_MONEY } report_axis;
bool report_progress_chart(aira__buf *, const report_data *, report_axis, int width, int height); /* false: no data */
void report_group_legend(aira__buf *, const report_data *);
void report_optimism_chart(aira__buf *, const report_data *, bool test); /* search-selection, or selection-test */
void report_size_chart(aira__buf *, const report_data *);
void report_seeds_chart(aira__buf *, const report_data *);
void report_final_chart(aira__buf *, const report_data *);
/* Old score against new of a rescored run; from: result('rescore', 'from') of docs/contract.md 6. */
void report_rescore_chart(aira__buf *, const report_data *, const json_t *from);

/* data.c, texts.c: what the page's script needs to show a node */
json_t *report_node_data(report_data *);
/* Nodes in the order in which they get room in the page; n_nodes of them, malloc'ed. */
int *report_importance(const report_data *);
/* {"pool": [text...], "nodes": {"index": {...}}} */
json_t *report_texts(report_data *, const int *order);

/* html.c and its sections */
bool report_html(report_data *, const json_t *facts, aira__buf *);
void report_section(aira__buf *, const char *id, const char *title,
                    const char *note); /* opens <section>; note may be NULL */
void report_verdict_section(aira__buf *, const report_data *, const json_t *facts);
void report_result_sections(aira__buf *, const report_data *);
void report_model_sections(aira__buf *, const report_data *);
void report_search_sections(aira__buf *, const report_data *, const json_t *facts);
void report_cost_sections(aira__buf *, const report_data *);
double report_number_in(const json_t *object, const char *key);      /* NAN */
const char *report_string_in(const json_t *object, const char *key); /* "" */

/* Made from core/report/page by cmake/airaReportPage.cmake. */
extern const char report_page_css[], report_page_js[];

#endif
