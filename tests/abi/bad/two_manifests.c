/* Holds two notes. */
#include "base.h"

__attribute__((used, aligned(4), section(".note.aira"))) static const aira_manifest_note second = {
    5, (uint32_t)sizeof(aira_manifest), AIRA_NOTE_TYPE, "AIRA", {AIRA_ABI_MAJOR, AIRA_ABI_MINOR, KIND, ID, "1.0.0", 0}};
