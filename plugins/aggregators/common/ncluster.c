/* plugins/aggregators/common/ncluster.c - layer-wise conditional mode over the top cluster; see ncluster.h.
 *
 * Pure: the answer depends on the candidates and the configuration alone. Sums run over the members in the order given,
 * and two sums count as equal when they differ by no more than rounding can explain, so a tie is a tie on every
 * machine.
 */
#include "ncluster.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const weight_names[] = {"mode", "rank", "score", NULL};
static const aira_field fields[] = {
    AIRA_F_INT(ncluster_config, clusters, 5, 1, 1000,
               "clusters of the 1-D k-means over scores; the best one is merged"),
    AIRA_F_INT(ncluster_config, least_members, 1, 1, 1000000,
               "members that must agree with the tokens before a layer; else fewer tokens are asked for"),
    AIRA_F_CHOICE(ncluster_config, weights, weight_names, NCLUSTER_MODE,
                  "a member's weight: mode 1, rank 1/rank, score its score minus the cluster's lowest"),
};
const aira_schema ncluster_schema = AIRA_SCHEMA(ncluster_config, fields);

typedef struct ncluster {
    const aira_host *host;
    ncluster_config config;
    uint32_t order;
} ncluster;

aira_status ncluster_create(const aira_host *host, const ncluster_config *config, uint32_t order, void **self) {
    ncluster *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "out of memory while making an aggregator");
    made->host = host;
    made->config = *config;
    made->order = order;
    *self = made;
    return AIRA_OK;
}

void ncluster_destroy(void *self) {
    if (self) ((ncluster *)self)->host->release(((ncluster *)self)->host, self);
}

typedef struct cluster { /* the top cluster, in the order of the candidates */
    uint32_t n;
    const aira_scored **members;
    double *weights;
    double *votes, *scores; /* per token, of one layer */
} cluster;

static void say(aira_aggregate_out *out, const char *text) {
    if (out->note) out->note(out->core, text);
}

/* a > b by more than rounding */
static int above(double a, double b) { return a - b > 1e-12 * (fabs(a) + fabs(b)); }

static void weigh(const ncluster *self, const aira_aggregate_in *in, double threshold, cluster *top) {
    top->n = 0;
    for (uint32_t i = 0; i < in->n_candidates; i++) {
        const aira_scored *c = &in->candidates[i];
        if (!(c->score >= threshold)) continue;
        uint32_t rank = 1;
        for (uint32_t j = 0; self->config.weights == NCLUSTER_RANK && j < in->n_candidates; j++)
            rank += in->candidates[j].score > c->score;
        top->members[top->n] = c;
        top->weights[top->n++] = self->config.weights == NCLUSTER_RANK    ? 1.0 / rank
                                 : self->config.weights == NCLUSTER_SCORE ? c->score - threshold
                                                                          : 1.0;
    }
}

/* Does the member agree with what was chosen for the c layers before this one? */
static int agrees(const aira_scored *member, const uint16_t *chosen, uint32_t layer, uint32_t c) {
    return memcmp(member->layers + (layer - c), chosen + (layer - c), c * sizeof *chosen) == 0;
}

/* Fills votes and scores of the members that agree on c layers; their summed weight in *total. Returns their number. */
static uint32_t count_votes(const aira_aggregate_in *in, const aira_aggregate_out *out, const cluster *top,
                            uint32_t layer, uint32_t c, double *total) {
    uint32_t agree = 0;
    *total = 0;
    for (uint32_t m = 0; m < top->n; m++)
        if (agrees(top->members[m], out->layers, layer, c)) {
            agree++;
            *total += top->weights[m];
        }
    int flat = !(*total > 0); /* weights that say nothing: everyone counts 1 */
    if (flat) *total = agree;
    memset(top->votes, 0, in->n_tokens * sizeof *top->votes);
    memset(top->scores, 0, in->n_tokens * sizeof *top->scores);
    for (uint32_t m = 0; m < top->n; m++)
        if (agrees(top->members[m], out->layers, layer, c)) {
            uint16_t token = top->members[m]->layers[layer];
            top->votes[token] += flat ? 1.0 : top->weights[m];
            top->scores[token] += top->members[m]->score;
        }
    return agree;
}

static uint32_t elect(const aira_aggregate_in *in, aira_aggregate_out *out, const cluster *top, uint32_t layer) {
    uint32_t best = 0, rival = 0;
    int by_score = 0;
    for (uint32_t t = 1; t < in->n_tokens; t++) {
        if (above(top->votes[best], top->votes[t])) continue;
        int tied = !above(top->votes[t], top->votes[best]);
        if (!tied || above(top->scores[t], top->scores[best])) {
            rival = best;
            best = t;
        } else {
            rival = t;
        }
    }
    if (rival == best || above(top->votes[best], top->votes[rival])) return best;
    by_score = above(top->scores[best], top->scores[rival]);
    char text[192];
    snprintf(text, sizeof text, "layer %u: %.32s and %.32s tie with weight %.6g each; %.32s by %s", layer + 1,
             in->tokens[best], in->tokens[rival], top->votes[best], in->tokens[best],
             by_score ? "the higher summed score" : "the order of tokens");
    say(out, text);
    return best;
}

static void merge(const ncluster *self, const aira_aggregate_in *in, aira_aggregate_out *out, const cluster *top) {
    for (uint32_t layer = 0; layer < in->n_layers; layer++) {
        uint32_t wanted = self->order < layer ? self->order : layer, c = wanted;
        double total;
        while (count_votes(in, out, top, layer, c, &total) < self->config.least_members && c > 0) c--;
        if (c < wanted) {
            char text[160];
            snprintf(text, sizeof text,
                     "layer %u: fewer than %lld members have the %u tokens chosen before it; backed off to %u",
                     layer + 1, (long long)self->config.least_members, wanted, c);
            say(out, text);
        }
        uint32_t token = elect(in, out, top, layer);
        out->layers[layer] = (uint16_t)token;
        out->support[layer] = top->votes[token] / total;
    }
}

static aira_status check(const ncluster *self, const aira_aggregate_in *in) {
    char text[160];
    if (in->n_candidates == 0 || in->n_layers == 0 || in->n_tokens == 0)
        return self->host->fail(self->host, AIRA_E_FAILED,
                                "nothing to aggregate: there is no candidate with a selection score");
    for (uint32_t i = 0; i < in->n_candidates; i++) {
        if (!isfinite(in->candidates[i].score)) {
            snprintf(text, sizeof text, "candidate %u has no finite score; leave it out of the aggregation", i);
            return self->host->fail(self->host, AIRA_E_FAILED, text);
        }
        for (uint32_t l = 0; l < in->n_layers; l++)
            if (in->candidates[i].layers[l] >= in->n_tokens) {
                snprintf(text, sizeof text, "candidate %u holds token %u at layer %u, but there are %u tokens", i,
                         in->candidates[i].layers[l], l + 1, in->n_tokens);
                return self->host->fail(self->host, AIRA_E_FAILED, text);
            }
    }
    return AIRA_OK;
}

static aira_status combine(void *self_, const aira_aggregate_in *in, aira_aggregate_out *out) {
    const ncluster *self = self_;
    aira_status status = check(self, in);
    if (status) return status;
    uint32_t clusters = (uint32_t)self->config.clusters;
    double threshold = 0;
    double *numbers = malloc((2u * (size_t)in->n_candidates + 2u * (size_t)in->n_tokens) * sizeof *numbers);
    cluster top = {.members = malloc(in->n_candidates * sizeof *top.members)};
    status = numbers && top.members ? AIRA_OK : AIRA_E_MEMORY;
    if (!status) {
        for (uint32_t i = 0; i < in->n_candidates; i++) numbers[i] = in->candidates[i].score;
        status = ncluster_threshold(numbers, in->n_candidates, &clusters, &threshold);
    }
    if (!status) {
        top.weights = numbers + in->n_candidates;
        top.votes = top.weights + in->n_candidates;
        top.scores = top.votes + in->n_tokens;
        if (clusters < self->config.clusters) {
            char text[96];
            snprintf(text, sizeof text, "only %u distinct scores: %u clusters instead of %u", clusters, clusters,
                     (uint32_t)self->config.clusters);
            say(out, text);
        }
        weigh(self, in, threshold, &top);
        merge(self, in, out, &top);
        out->cluster_size = top.n;
    }
    free(top.members);
    free(numbers);
    return status == AIRA_E_MEMORY ? self->host->fail(self->host, status, "out of memory while aggregating") : status;
}

const aira_aggregator ncluster_table = {.size = sizeof(aira_aggregator), .combine = combine};
