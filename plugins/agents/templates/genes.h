/* plugins/agents/templates/genes.h - the grammar of mechanisms: a few choices, and the C source that they stand for. */
#ifndef TEMPLATES_GENES_H
#define TEMPLATES_GENES_H

#include <stddef.h>

#include "aira/rng.h"

enum { MIXER, FEATURE, RATE, HEADS, SPAN, POSITION, LOCAL, GATE, NORM, N_GENES };
enum { SOFTMAX, WINDOW, LINEAR, DECAY, CONV, FFT, MEAN }; /* values of MIXER */

typedef struct genes {
    int at[N_GENES]; /* which value; -1 where the mixer has no use for it */
} genes;

void genes_draw(genes *, aira_rng *);
/* Changes one choice of those that count. */
void genes_change(genes *, aira_rng *);
/* Each choice from one of the two. */
void genes_cross(genes *, const genes *other, aira_rng *);
/* From the comment of a source that genes_source wrote; 0: it holds none. */
int genes_read(genes *, const char *source);
/* "decay_elu_data_h4_conv_silu_rms": the primitive's id. */
void genes_name(const genes *, char *text, size_t size);
/* The whole C file; 0 when it does not fit. */
int genes_source(const genes *, char *text, size_t size);

#endif
