/* core/sandbox/hygiene.c - see hygiene.h. Walks section headers -> .dynsym -> its strings, every offset checked. */
#include "core/sandbox/hygiene.h"

#include <elf.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const plain[] = {
    /* libc: memory, texts, numbers */
    "memcpy", "memmove", "memset", "memcmp", "memchr", "strlen", "strnlen", "strcmp", "strncmp", "strchr", "strrchr",
    "strstr", "strcpy", "strncpy", "strcat", "strncat", "strspn", "strcspn", "strpbrk", "strtol", "strtoul", "strtod",
    "atoi", "atof", "abs", "labs", "llabs", "qsort", "bsearch", "snprintf", "vsnprintf", "malloc", "calloc", "realloc",
    "free", "abort", "__assert_fail", "__stack_chk_fail", "__errno_location", "__memcpy_chk", "__memset_chk",
    "__memmove_chk", "__strcpy_chk", "__strcat_chk", "__snprintf_chk", "__vsnprintf_chk", "__isoc99_sscanf",
    /* what the compiler's start files refer to */
    "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__gmon_start__", "__cxa_finalize"};

/* libm: also with f and l at the end */
static const char *const math[] = {
    "acos",      "acosh",     "asin", "asinh",     "atan",   "atan2", "atanh",     "cbrt",   "ceil",   "copysign",
    "cos",       "cosh",      "erf",  "erfc",      "exp",    "exp2",  "exp10",     "expm1",  "fabs",   "fdim",
    "floor",     "fma",       "fmax", "fmin",      "fmod",   "frexp", "hypot",     "ilogb",  "ldexp",  "lgamma",
    "llrint",    "llround",   "log",  "log10",     "log1p",  "log2",  "logb",      "lrint",  "lround", "modf",
    "nearbyint", "nextafter", "pow",  "remainder", "rint",   "round", "roundeven", "scalbn", "sin",    "sincos",
    "sinh",      "sqrt",      "tan",  "tanh",      "tgamma", "trunc"};

static bool is_plain(const char *name) {
    for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
        if (strcmp(name, plain[k]) == 0) return true;
    return false;
}

static bool is_math(const char *name) {
    size_t n = strlen(name);
    for (size_t k = 0; k < sizeof math / sizeof *math; k++) {
        size_t m = strlen(math[k]);
        if (strncmp(name, math[k], m) != 0) continue;
        if (n == m || (n == m + 1 && (name[m] == 'f' || name[m] == 'l'))) return true;
    }
    return false;
}

typedef struct object {
    const unsigned char *bytes;
    size_t n;
} object;

/* Copies n bytes at offset; false beyond the end. */
static bool get(const object *o, uint64_t offset, void *to, size_t n) {
    if (offset > o->n || o->n - offset < n) return false;
    memcpy(to, o->bytes + offset, n);
    return true;
}

/* A text of the string table, or NULL. */
static const char *text(const object *o, const Elf64_Shdr *strings, uint64_t at) {
    if (strings->sh_offset > o->n || strings->sh_size > o->n - strings->sh_offset || at >= strings->sh_size)
        return NULL;
    const char *start = (const char *)o->bytes + strings->sh_offset + at;
    return memchr(start, 0, strings->sh_size - at) != NULL ? start : NULL;
}

static aira_status check_symbol(const char *name, const Elf64_Sym *s, int *exported, aira_error *error) {
    unsigned bind = ELF64_ST_BIND(s->st_info), seen = ELF64_ST_VISIBILITY(s->st_other);
    if (name == NULL) return aira__fail(error, AIRA_E_CORRUPT, "its symbol table is damaged");
    if (name[0] == 0 || bind == STB_LOCAL) return AIRA_OK;
    if (s->st_shndx == SHN_UNDEF) {
        if (is_plain(name) || is_math(name)) return AIRA_OK;
        return aira__fail(error, AIRA_E_DENIED,
                          "it uses '%.80s', which is not available: mem*, str*, snprintf, malloc and the functions of "
                          "math.h are; everything else comes through ops and host",
                          name);
    }
    if (seen != STV_DEFAULT && seen != STV_PROTECTED) return AIRA_OK;
    if (strcmp(name, "aira_plugin_v1") != 0)
        return aira__fail(error, AIRA_E_CONFIG,
                          "it exports '%.80s'; the only function outside is aira_plugin_v1: "
                          "write static before the others",
                          name);
    ++*exported;
    return AIRA_OK;
}

static aira_status check_symbols(const object *o, const Elf64_Shdr *symbols, const Elf64_Shdr *strings, int *exported,
                                 aira_error *error) {
    uint64_t count = symbols->sh_size / sizeof(Elf64_Sym);
    if (count > 100000) return aira__fail(error, AIRA_E_CORRUPT, "it has more than 100,000 symbols");
    for (uint64_t k = 0; k < count; k++) {
        Elf64_Sym s;
        if (!get(o, symbols->sh_offset + k * sizeof s, &s, sizeof s))
            return aira__fail(error, AIRA_E_CORRUPT, "its symbol table lies outside of the file");
        aira_status status = check_symbol(text(o, strings, s.st_name), &s, exported, error);
        if (status != AIRA_OK) return status;
    }
    return AIRA_OK;
}

aira_status aira__hygiene_check(const void *bytes, size_t n, aira_error *error) {
    object o = {bytes, n};
    Elf64_Ehdr head;
    int exported = 0;
    if (!get(&o, 0, &head, sizeof head) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_shnum == 0 ||
        head.e_shentsize != sizeof(Elf64_Shdr))
        return aira__fail(error, AIRA_E_CORRUPT, "the compiler made no shared object");
    for (unsigned k = 0; k < head.e_shnum; k++) {
        Elf64_Shdr section, strings;
        if (!get(&o, head.e_shoff + (uint64_t)k * sizeof section, &section, sizeof section))
            return aira__fail(error, AIRA_E_CORRUPT, "its sections lie outside of the file");
        if (section.sh_type != SHT_DYNSYM) continue;
        if (section.sh_link >= head.e_shnum ||
            !get(&o, head.e_shoff + (uint64_t)section.sh_link * sizeof strings, &strings, sizeof strings))
            return aira__fail(error, AIRA_E_CORRUPT, "its symbol table names no strings");
        aira_status status = check_symbols(&o, &section, &strings, &exported, error);
        if (status != AIRA_OK) return status;
    }
    if (exported == 1) return AIRA_OK;
    return aira__fail(error, AIRA_E_CONFIG,
                      "it does not export aira_plugin_v1: write AIRA_EXPORT const aira_plugin *aira_plugin_v1(void)");
}
