/* core/cli/cli.c - see cli.h */
#include "core/cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cli/main.h"
#include "core/config/internal.h"
#include "core/sandbox/foreign.h"

static const aira__cli_option globals[] = {
    {"plugin-path", "DIR", "also look for plugins there, first (repeatable)", AIRA__CLI_LIST, NULL, false},
    {"json", NULL, "print one JSON value on standard output", AIRA__CLI_SWITCH, NULL, false},
    {"quiet", NULL, "no progress on standard error", AIRA__CLI_SWITCH, NULL, false},
    {"help", NULL, "print this and exit", AIRA__CLI_SWITCH, NULL, false}};
enum { n_globals = sizeof globals / sizeof globals[0], max_options = 64 };

int aira__cli_fail_text(const aira__cli *cli, aira_status status, const char *format, ...) {
    aira_error error = {0};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.text, sizeof error.text, format, arguments);
    va_end(arguments);
    error.status = status;
    return aira__cli_fail(cli, &error);
}

int aira__cli_fail(const aira__cli *cli, const aira_error *error) {
    /* sentences with a place ("file:line:column: error: ...") stand at the start of the line, where editors look */
    if (error->status == AIRA_E_CONFIG && strstr(error->text, "error: ") != NULL)
        fprintf(stderr, "%s\n", error->text);
    else
        fprintf(stderr, "aira%s%s: error: %s\n", cli->command[0] != 0 ? " " : "", cli->command, error->text);
    return error->status == AIRA_E_CONFIG ? 2 : 1;
}

int aira__cli_fail_diagnostics(const aira__cli *cli, const aira__diagnostics *diagnostics) {
    (void)cli;
    aira__diagnostics_print(diagnostics, stderr);
    return 2;
}

int aira__cli_print_json(aira__cli *cli, json_t *value) {
    if (value == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory for the result");
    int bad = json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(value);
    if (bad != 0 || putchar('\n') == EOF)
        return aira__cli_fail_text(cli, AIRA_E_IO, "standard output cannot be written");
    return 0;
}

/* A zeroed array that main releases at the end. */
static void *keep(aira__cli *cli, size_t n, size_t size) {
    void **memory = realloc(cli->memory, (size_t)(cli->n_memory + 1) * sizeof *memory);
    if (memory == NULL) return NULL;
    cli->memory = memory;
    void *block = calloc(n + 1, size);
    if (block != NULL) memory[cli->n_memory++] = block;
    return block;
}

aira__registry *aira__cli_registry(aira__cli *cli, aira_error *error) {
    if (cli->registry != NULL) return cli->registry;
    aira__registry_options options = {.paths = cli->plugin_paths, .n_paths = cli->n_plugin_paths};
    if (aira__registry_create(&options, &cli->registry, error) != AIRA_OK) return NULL;
    return aira__foreign_offer(cli->registry, error) == AIRA_OK ? cli->registry : NULL;
}

static void print_option(const aira__cli_option *option) {
    char left[64];
    snprintf(left, sizeof left, "--%s%s%s", option->name, option->value != NULL ? " " : "",
             option->value != NULL ? option->value : "");
    printf("  %-22s %s%s\n", left, option->doc, option->required ? " (required)" : "");
}

static int print_help(const aira__cli *cli, const aira__cli_spec *spec) {
    printf("usage: aira %s %s\n\n%s\n\noptions:\n", cli->command, spec->arguments, spec->summary);
    for (int i = 0; i < spec->n_options; i++) print_option(&spec->options[i]);
    for (int i = 0; i < n_globals; i++) print_option(&globals[i]);
    return 0;
}

static int unknown_option(const aira__cli *cli, const aira__cli_spec *spec, const char *name) {
    const char *names[max_options];
    int n = 0;
    for (int i = 0; spec != NULL && i < spec->n_options && n < max_options - n_globals; i++)
        names[n++] = spec->options[i].name;
    for (int i = 0; i < n_globals; i++) names[n++] = globals[i].name;
    const char *nearest = aira__nearest(name, names, n);
    return aira__cli_fail_text(cli, AIRA_E_CONFIG, "unknown option '--%s'%s%s%s; see aira %s%s--help", name,
                               nearest != NULL ? ", did you mean '--" : "", nearest != NULL ? nearest : "",
                               nearest != NULL ? "'?" : "", cli->command, cli->command[0] != 0 ? " " : "");
}

/* Stores one given option; 0, or the exit status. */
static int store(aira__cli *cli, const aira__cli_option *option, const char *value) {
    bool good = true;
    switch (option->type) {
    case AIRA__CLI_SWITCH:
        *(bool *)option->out = true;
        break;
    case AIRA__CLI_TEXT:
        *(const char **)option->out = value;
        break;
    case AIRA__CLI_INT:
        good = aira__text_count(value, option->out);
        break;
    case AIRA__CLI_SEED:
        good = aira__text_seed(value, option->out);
        break;
    case AIRA__CLI_REAL:
        good = aira__text_real(value, option->out);
        break;
    case AIRA__CLI_LIST: {
        aira__cli_list *list = option->out;
        const char **items = keep(cli, (size_t)list->n + 1, sizeof *items);
        if (items == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
        if (list->n > 0) memcpy(items, list->items, (size_t)list->n * sizeof *items);
        items[list->n++] = value;
        list->items = items;
    }
    }
    return good ? 0
                : aira__cli_fail_text(cli, AIRA_E_CONFIG, "--%s must be %s, not '%s'", option->name,
                                      option->type == AIRA__CLI_REAL ? "a number" : "a whole number", value);
}

static const aira__cli_option *find_option(const aira__cli_option *options, int n, const char *name, size_t length) {
    for (int i = 0; i < n; i++)
        if (strncmp(options[i].name, name, length) == 0 && options[i].name[length] == 0) return &options[i];
    return NULL;
}

/* The option at argv[*i], global or of spec (may be NULL); moves *i to its last word. 0, or the exit status;
 *given: the option of spec, NULL for a global one. */
static int take_option(aira__cli *cli, const aira__cli_spec *spec, int argc, char **argv, int *i, bool *help,
                       const aira__cli_option **given) {
    const char *name = argv[*i] + 2;
    size_t length = strcspn(name, "=");
    aira__cli_list paths = {cli->plugin_paths, cli->n_plugin_paths};
    *given = spec != NULL ? find_option(spec->options, spec->n_options, name, length) : NULL;
    aira__cli_option option = {0};
    const aira__cli_option *found = *given != NULL ? *given : find_option(globals, n_globals, name, length);
    if (found == NULL) {
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), name);
        return unknown_option(cli, spec, word);
    }
    option = *found;
    if (*given == NULL) {
        void *const outs[n_globals] = {&paths, &cli->json, &cli->quiet, help};
        option.out = outs[found - globals];
    }
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    if (option.type == AIRA__CLI_SWITCH && value != NULL)
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--%s takes no value", option.name);
    if (option.type != AIRA__CLI_SWITCH && value == NULL) {
        if (*i + 1 >= argc)
            return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--%s needs a value: %s", option.name, option.value);
        value = argv[++*i];
    }
    int status = store(cli, &option, value);
    cli->plugin_paths = paths.items;
    cli->n_plugin_paths = paths.n;
    return status;
}

int aira__cli_globals(aira__cli *cli, int argc, char **argv, int *i, bool *help) {
    const aira__cli_option *given;
    return take_option(cli, NULL, argc, argv, i, help, &given);
}

/* key.key=value, where keys are words */
static bool is_override(const char *text) {
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n > 0 && text[n] == '=';
}

static int check_counts(const aira__cli *cli, const aira__cli_spec *spec, const bool *given, int n_names) {
    for (int i = 0; i < spec->n_options; i++)
        if (spec->options[i].required && !given[i])
            return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--%s %s is missing: %s", spec->options[i].name,
                                       spec->options[i].value, spec->options[i].doc);
    if (n_names < spec->min_names || (spec->max_names >= 0 && n_names > spec->max_names))
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "%s arguments; usage: aira %s %s",
                                   n_names < spec->min_names ? "too few" : "too many", cli->command, spec->arguments);
    return -1;
}

int aira__cli_parse(aira__cli *cli, const aira__cli_spec *spec, int argc, char **argv, aira__cli_arguments *arguments) {
    bool help = false, given[max_options] = {false}, options_end = false;
    *arguments = (aira__cli_arguments){.names = keep(cli, (size_t)argc, sizeof(char *)),
                                       .overrides = keep(cli, (size_t)argc, sizeof(char *))};
    if (arguments->names == NULL || arguments->overrides == NULL)
        return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    for (int i = 1; i < argc; i++) {
        const aira__cli_option *option = NULL;
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && strcmp(argv[i], "-h") == 0) {
            help = true;
        } else if (!options_end && strncmp(argv[i], "--", 2) == 0) {
            int status = take_option(cli, spec, argc, argv, &i, &help, &option);
            if (status != 0) return status;
            if (option != NULL) given[option - spec->options] = true;
        } else if (!options_end && argv[i][0] == '-' && argv[i][1] != 0) {
            return aira__cli_fail_text(cli, AIRA_E_CONFIG, "unknown option '%s'; options are written --name", argv[i]);
        } else if (spec->overrides && is_override(argv[i])) {
            arguments->overrides[arguments->n_overrides++] = argv[i];
        } else {
            arguments->names[arguments->n_names++] = argv[i];
        }
    }
    return help ? print_help(cli, spec) : check_counts(cli, spec, given, arguments->n_names);
}
