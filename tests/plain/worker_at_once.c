/* worker_at_once.c - a worker on the cpu device: four evaluations at once give the results of one after another; for
 * ThreadSanitizer too.
 */
#include "tests/support/at_once.h"

int main(void) {
    static const char *const names[] = {"mA", "M", "Mb"};
    const at_once_case c = {.device = "{\"use\": \"cpu\", \"threads\": 1}",
                            .backbone = "use: mad_lm, width: 16",
                            .tokens = "mA: {use: attention, heads: 2}, M: {use: mlp}, Mb: {use: mamba}",
                            .data = "task: memorization, vocab: 16, length: 8, train_rows: 20, test_rows: 40",
                            .recipe = "batch: 8, eval_every: 7",
                            .names = names,
                            .n_names = 3,
                            .layers = 2,
                            .evaluations = 12,
                            .steps = 10};
    char folder[1024];
    double seconds, steps;
    aira__registry *registry = at_once_registry(folder);
    json_t *lease = at_once_lease(&c, registry, folder);
    aira__registry_destroy(registry);
    json_t *alone = at_once_run(lease, 1, &seconds, &steps), *beside = at_once_run(lease, 4, &seconds, &steps);
    int differ = at_once_differ(alone, beside);
    json_decref(alone);
    json_decref(beside);
    json_decref(lease);
    return differ ? 1 : 0;
}
