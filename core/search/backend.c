/* core/search/backend.c - see backend.h */
#include "core/search/backend.h"

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/http/key.h"
#include "core/search/budget.h"
#include "core/search/price.h"

void aira__backend_check_key(const json_t *agent, aira__node *place, bool must, aira__diagnostics *d) {
    aira_error error = {0};
    if (!json_is_object(agent) || aira__key_check(agent, &error) == AIRA_OK) return;
    if (must || error.status != AIRA_E_DENIED)
        aira__diagnose(d, place, "agent %s: %s", aira__json_string(agent, "use", "?"), error.text);
    else
        aira__log(AIRA_LOG_WARN, "%s:%d: agent %s could not run now: %s", place->file, place->line,
                  aira__json_string(agent, "use", "?"), error.text);
}

void aira__backend_check_prices(const json_t *study, aira__node *place, aira__diagnostics *d) {
    const json_t *search;
    size_t i;
    aira__budget whole;
    aira__budget_from_json(json_object_get(study, "budget"), &whole);
    for (int who = 0; who < 2; who++) json_array_foreach(json_object_get(study, "searches"), i, search) {
            const char *model = aira__json_string(json_object_get(search, who ? "analyst" : "agent"), "model", NULL);
            aira__budget own;
            aira__budget_from_json(json_object_get(search, "budget"), &own);
            bool limited = (whole.money_usd >= 0 && !whole.allow_unpriced) ||
                           (own.money_usd >= 0 && !own.allow_unpriced && !whole.allow_unpriced);
            if (!model || !limited || aira__price_find(study, model, aira__wall())) continue;
            aira__diagnose(
                d, place,
                "money is limited, and no price is known for the model %s: add it to `prices`, or say that its "
                "answers count as free: `budget: {allow_unpriced: true}`",
                model);
            return;
        }
}
