/* core/search/call.c - how a call to an agent ends: its row, with what it used, what it cost, and what was left of void
 * tries.
 *
 * An agent that knows its own cost says it; for the others it follows from the tokens and the study's prices. What is
 * not known is NULL in the row, never 0.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/search/price.h"
#include "core/search/run_internal.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

char *aira__clean_text(aira__buf *raw) {
    size_t n = raw->size;
    char *text = aira__buf_take(raw);
    for (size_t i = 0; text && i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t more = c < 0x80                ? 0
                      : c >= 0xC2 && c < 0xE0 ? 1
                      : c >= 0xE0 && c < 0xF0 ? 2
                      : c >= 0xF0 && c < 0xF5 ? 3
                                              : 9;
        bool good = c != 0 && more < 9 && i + more < n;
        for (size_t k = 1; good && k <= more; k++) good = ((unsigned char)text[i + k] & 0xC0) == 0x80;
        if (good && more > 1) { /* overlong forms, surrogates, beyond U+10FFFF */
            unsigned char d = (unsigned char)text[i + 1];
            good = !(c == 0xE0 && d < 0xA0) && !(c == 0xED && d > 0x9F) && !(c == 0xF0 && d < 0x90) &&
                   !(c == 0xF4 && d > 0x8F);
        }
        if (!good)
            text[i++] = '?';
        else
            i += more + 1;
    }
    return text;
}

static double money(const aira__run *run, const aira__slot *slot) {
    const aira_usage *usage = &slot->ask.usage;
    if (usage->money_usd >= 0) return usage->money_usd;
    const char *asked = aira__json_string(slot->asked->canonical, "model", NULL);
    double now = aira__wall();
    const json_t *price = aira__price_find(run->study, usage->model, now);
    if (!price) price = aira__price_find(run->study, asked, now);
    return aira__price_money(price, usage);
}

/* Stores a text if there is one; *hash is then its hash, else NULL. */
static aira_status put_text(aira__run *run, const char *text, char room[65], const char **hash, aira_error *error) {
    *hash = NULL;
    if (!text) return AIRA_OK;
    aira_status status = aira__journal_put_text(run->journal, text, room, error);
    if (status == AIRA_OK) *hash = room;
    return status;
}

aira_status aira__call_end(aira__run *run, aira__slot *slot, const char *text, aira_error *error) {
    aira__ask *a = &slot->ask;
    char answer[65], void_text[65];
    bool ok = a->status == AIRA_OK, has_partial = a->partial.size > 0;
    char *partial = has_partial ? aira__clean_text(&a->partial) : NULL;
    char *notes = a->notes.size > 0 ? aira__clean_text(&a->notes) : NULL;
    if (has_partial && !partial) return no_memory(error);
    aira__journal_call call = {.search = slot->search->id,
                               .idx = slot->idx,
                               .operator_name = slot->request.request.operator_name,
                               .attempt = slot->request.request.attempt,
                               .state = ok     ? "answered"
                                        : text ? "failed"
                                               : "asked",
                               .error = ok ? NULL : a->error,
                               .input_tokens = a->usage.input_tokens,
                               .cached_tokens = a->usage.cached_input_tokens,
                               .cache_write_tokens = a->usage.cache_write_tokens,
                               .output_tokens = a->usage.output_tokens,
                               .reasoning_tokens = a->usage.reasoning_tokens,
                               .money_usd = money(run, slot),
                               .tries = a->usage.tries > 0 ? a->usage.tries : 0,
                               .model = a->usage.model,
                               .notes = notes,
                               .seconds = a->seconds};
    aira_status status = aira__journal_begin(run->journal, error);
    if (status == AIRA_OK) {
        status = put_text(run, text, answer, &call.answer, error);
        if (status == AIRA_OK) status = put_text(run, partial, void_text, &call.partial, error);
        if (status == AIRA_OK) status = aira__journal_end_call(run->journal, &call, error);
        if (status == AIRA_OK) aira__ledger_add_call(&run->ledger, &call);
        if (status == AIRA_OK)
            status = aira__journal_commit(run->journal, error);
        else
            aira__journal_rollback(run->journal);
    }
    free(partial);
    free(notes);
    return status;
}
