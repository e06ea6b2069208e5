/* core/train/peak.h - what a processor could do at most, for the share of it that a training reaches. */
#ifndef AIRA_TRAIN_PEAK_H
#define AIRA_TRAIN_PEAK_H

#include <stdint.h>

/* TFLOP/s of dense matrix products by the maker's data sheet, for a device of this name (aira_device_info.name) and
   activations of this type; 0: unknown. */
double aira__peak_tflops(const char *device, uint32_t precision);

#endif
