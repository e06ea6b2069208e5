/* core/search/order.c - which waiting evaluation goes next; see queue.h for the rule. */
#include <math.h>
#include <stdlib.h>

#include "core/search/queue_internal.h"

static bool before(const aira__queue *q, int a, int b) {
    const aira__item *x = &q->items[a], *y = &q->items[b];
    return x->order != y->order ? x->order < y->order : a < b;
}

static void swap(int *a, int *b) {
    int kept = *a;
    *a = *b;
    *b = kept;
}

bool aira__lanes_put(aira__queue *q, int item) {
    aira__lane *lane = &q->lanes[q->items[item].search];
    if (lane->n == lane->capacity) {
        int capacity = lane->capacity ? lane->capacity * 2 : 8;
        int *more = realloc(lane->items, (size_t)capacity * sizeof *more);
        if (!more) return false;
        lane->items = more;
        lane->capacity = capacity;
    }
    int at = lane->n++;
    lane->items[at] = item;
    for (; at && before(q, item, lane->items[(at - 1) / 2]); at = (at - 1) / 2)
        swap(&lane->items[at], &lane->items[(at - 1) / 2]);
    q->n_waiting++;
    return true;
}

void aira__lanes_take(aira__queue *q, int item) {
    aira__lane *lane = &q->lanes[q->items[item].search];
    lane->items[0] = lane->items[--lane->n];
    for (int at = 0;;) {
        int child = 2 * at + 1;
        if (child >= lane->n) break;
        if (child + 1 < lane->n && before(q, lane->items[child + 1], lane->items[child])) child++;
        if (before(q, lane->items[at], lane->items[child])) break;
        swap(&lane->items[at], &lane->items[child]);
        at = child;
    }
    q->n_waiting--;
}

int aira__lanes_next(const aira__queue *q, const int *ahead) {
    const aira__usage *study = &q->o.ledger->study;
    double mean = study->trainings && study->device_seconds > 0 ? study->device_seconds / (double)study->trainings : 1;
    double least = INFINITY;
    int next = -1;
    for (int i = 0; i < q->n_lanes; i++) {
        const aira__lane *lane = &q->lanes[i];
        if (!lane->n) continue;
        double used = i ? q->o.ledger->searches[i - 1].device_seconds : 0;
        double load = (isnan(used) ? 0 : used) + mean * (lane->running + ahead[i]);
        if (load >= least) continue;
        least = load;
        next = lane->items[0];
    }
    return next;
}
