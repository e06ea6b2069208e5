/* at_once.c - many candidates at once on a GPU: the curves are those that each has alone, bit for bit; and how many
 * steps there are in a second.
 *
 *     gpu_at_once [EVALUATIONS [STEPS [AT_ONCE]]]     (24 evaluations of 40 to 100 steps, 16 at once)
 *
 * 16 layers of attention, MLP and Mamba-2, d = 128, batch 128, T = 128, bf16. Exit status 1: a result differs; 77: no
 * GPU here.
 */
#include "tests/support/at_once.h"
#include "aira/device.h"

static bool has_gpu(aira__registry *registry) {
    aira_error error = {0};
    const aira_plugin *plugin = aira__registry_find(registry, "device", "cuda", &error);
    const aira_device *table = plugin ? plugin->table : NULL;
    const char *why = table ? table->unavailable() : error.text;
    if (why) printf("skipped: %s\n", why);
    return !why;
}

static int argument(int argc, char **argv, int k, int usual) { return argc > k ? atoi(argv[k]) : usual; }

int main(int argc, char **argv) {
    static const char *const names[] = {"mA", "M", "Mb2"};
    const at_once_case c = {.device = "{\"use\": \"cuda\"}",
                            .backbone = "use: mad_lm, width: 128",
                            .tokens = "mA: {use: attention}, M: {use: mlp}, Mb2: {use: mamba2}",
                            .data = "task: compression, length: 128",
                            .recipe = "batch: 128, precision: bf16, eval_every: 37, eval_rows: 128, log_every: 1",
                            .names = names,
                            .n_names = 3,
                            .layers = 16,
                            .evaluations = argument(argc, argv, 1, 24),
                            .steps = argument(argc, argv, 2, 40)};
    int at_once = argument(argc, argv, 3, 16);
    char folder[1024];
    double warm, one, many, steps;
    aira__registry *registry = at_once_registry(folder);
    if (!has_gpu(registry)) {
        aira__registry_destroy(registry);
        return 77;
    }
    json_t *lease = at_once_lease(&c, registry, folder);
    aira__registry_destroy(registry);
    json_t *beside = at_once_run(lease, at_once, &warm, &steps); /* compiles what is not in the cache */
    json_t *again = at_once_run(lease, at_once, &many, &steps), *alone = at_once_run(lease, 1, &one, &steps);
    int differ = at_once_differ(alone, beside) + at_once_differ(alone, again);
    printf("%.0f steps, starts and evaluations included: one after another %.2f s (%.3f ms a step), %d at once %.2f s "
           "(%.3f ms a step)\n",
           steps, one, 1000 * one / steps, at_once, many, 1000 * many / steps);
    json_decref(alone);
    json_decref(beside);
    json_decref(again);
    json_decref(lease);
    return differ ? 1 : 0;
}
