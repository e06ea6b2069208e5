/* Every floating-point op of the cpu device against a second, naive text (device_cases.h), in every element type, with
 * every instruction set that this processor offers. */
#include <criterion/criterion.h>

#include "device_cases.h"

static const struct {
    uint32_t dtype;
    const char *name;
    double forward, backward;
} types[] = {
    {AIRA_F64, "f64", 1e-9, 1e-6},
    {AIRA_F32, "f32", 2e-5, 2e-4},
    {AIRA_BF16, "bf16", 1.2e-2, 6e-2},
};

static void check_isa(int64_t isa, int64_t threads) {
    test_device device;
    bool open = test_cpu_open(&device, threads, isa);
    if (!open && strstr(device.failure, "this processor has no")) {
        test_device_close(&device);
        return;
    }
    cr_assert(open, "%s", device.failure);
    for (size_t k = 0; k < N_DEVICE_CASES; k++) {
        const device_case *c = &device_cases[k];
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            const char *why = NULL;
            double limit = types[t].forward;
            if (c->op == AIRA_OP_GELU_BACKWARD || c->op == AIRA_OP_SILU_BACKWARD) limit += 1e-7; /* differences */
            double error = check_forward(&device, c, types[t].dtype, 1, &why);
            cr_expect(error < limit, "%s %s isa %d: error %.3g %s", c->name, types[t].name, (int)isa, error,
                      why ? why : "");
            if (!c->backward) continue;
            error = check_backward(&device, c, types[t].dtype, 2, &why);
            cr_expect(error < types[t].backward, "%s backward %s isa %d: error %.3g %s", c->name, types[t].name,
                      (int)isa, error, why ? why : "");
        }
    }
    test_device_close(&device);
}

Test(cpu_ops, reference) { check_isa(1, 1); }
Test(cpu_ops, avx2) { check_isa(2, 1); }
Test(cpu_ops, avx512) { check_isa(3, 2); }
Test(cpu_ops, amx) { check_isa(4, 2); }
Test(cpu_ops, best_on_two_threads) { check_isa(0, 2); }
