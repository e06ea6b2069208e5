/* core/train/peak.c - data-sheet peaks by name. bf16 with fp32 sums, without sparsity; fp32 outside tensor cores. */
#include "core/train/peak.h"

#include <stddef.h>
#include <string.h>

#include "aira/abi.h"

double aira__peak_tflops(const char *device, uint32_t precision) {
    static const struct {
        const char *part; /* of the name; the first that fits counts */
        double bf16, fp32;
    } peaks[] = {{"B200", 2250, 75},        {"GH200", 989, 67},    {"H200 NVL", 835, 60}, {"H200", 989, 67},
                 {"H100 PCIe", 756, 51},    {"H100 NVL", 835, 60}, {"H100", 989, 67},     {"H800", 989, 67},
                 {"A100", 312, 19.5},       {"A800", 312, 19.5},   {"L40S", 362, 91.6},   {"A40", 149.7, 37.4},
                 {"RTX 4090", 165.2, 82.6}, {"RTX 3090", 71, 35.6}};
    for (size_t k = 0; k < sizeof peaks / sizeof *peaks; k++) {
        if (strstr(device, peaks[k].part) == NULL) continue;
        return precision == AIRA_BF16 ? peaks[k].bf16 : precision == AIRA_F32 ? peaks[k].fp32 : 0;
    }
    return 0;
}
