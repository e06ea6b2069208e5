/* tests/unit/http_key.c - keys: where they may come from, what is refused, and that sentences never repeat one. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "core/http/key.h"
#include "tests/support/folder.h"

#define SECRET "sk-0123456789abcdef"

static void refuses(const char *env, const char *file, aira_status status, const char *word) {
    aira__key key;
    aira_error error = {0};
    cr_assert_eq(aira__key_read(env, file, &key, &error), status, "%s", error.text);
    cr_assert(strstr(error.text, word), "no '%s' in: %s", word, error.text);
    cr_assert(!strstr(error.text, SECRET), "the sentence repeats the key: %s", error.text);
    cr_assert_null(key.text);
    aira__key_release(&key);
}

Test(key, comes_from_a_variable) {
    aira__key key;
    aira_error error = {0};
    setenv("AIRA_TEST_KEY", "  " SECRET "\n", 1);
    cr_assert_eq(aira__key_read("AIRA_TEST_KEY", NULL, &key, &error), AIRA_OK, "%s", error.text);
    cr_assert_str_eq(key.text, SECRET);
    cr_assert_str_eq(key.source, "the variable AIRA_TEST_KEY");
    aira__key_release(&key);
    cr_assert_eq(aira__key_read(NULL, NULL, &key, &error), AIRA_OK);
    cr_assert_null(key.text);
    unsetenv("AIRA_TEST_KEY");
    refuses("AIRA_TEST_KEY", NULL, AIRA_E_DENIED, "not set");
    setenv("AIRA_TEST_KEY", " \n", 1);
    refuses("AIRA_TEST_KEY", NULL, AIRA_E_DENIED, "empty");
    setenv("AIRA_TEST_KEY", SECRET "\nX-Other: header", 1);
    refuses("AIRA_TEST_KEY", NULL, AIRA_E_DENIED, "more than a key");
    refuses(SECRET, NULL, AIRA_E_CONFIG, "not a key");
    refuses("1KEY", NULL, AIRA_E_CONFIG, "not a key");
    refuses("", NULL, AIRA_E_CONFIG, "not a key");
    refuses("AIRA_TEST_KEY", "/dev/null", AIRA_E_CONFIG, "not both");
}

Test(key, comes_from_a_private_file) {
    test_folder folder;
    aira__key key;
    aira_error error = {0};
    char path[1024];
    test_folder_make(&folder);
    test_folder_write(&folder, "key", SECRET "\n", strlen(SECRET) + 1);
    snprintf(path, sizeof path, "%s/key", folder.path);
    static const mode_t open_modes[] = {0644, 0640, 0604, 0610, 0622};
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        chmod(path, open_modes[i]);
        refuses(NULL, path, AIRA_E_DENIED, "chmod 600");
    }
    chmod(path, 0600);
    cr_assert_eq(aira__key_read(NULL, path, &key, &error), AIRA_OK, "%s", error.text);
    cr_assert_str_eq(key.text, SECRET);
    aira__key_release(&key);
    chmod(folder.path, 0700);
    refuses(NULL, folder.path, AIRA_E_DENIED, "regular");
    test_folder_remove(&folder);
    refuses(NULL, path, AIRA_E_DENIED, "cannot be read");
}

Test(key, closes_the_process) {
    struct rlimit limit;
    aira__key_protect();
    cr_assert_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    cr_assert_eq(limit.rlim_cur, 0);
#ifndef __SANITIZE_ADDRESS__
    cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
#endif
}

Test(key, is_blacked_out) {
    aira__key key = {.text = (char *)(uintptr_t)SECRET, .n = strlen(SECRET)}, none = {0},
              word = {.text = "ollama", .n = 5};
    char text[] = "wrong: " SECRET SECRET ", " SECRET, zero[] = "a\0" SECRET;
    aira__key_redact(&key, text, strlen(text));
    cr_assert_null(strstr(text, "sk-"));
    cr_assert_str_eq(text, "wrong: **************************************, *******************");
    aira__key_redact(&key, zero, sizeof zero - 1);
    cr_assert_eq(zero[2], '*');
    char kept[] = "ollama";
    aira__key_redact(&none, kept, 6);
    aira__key_redact(&word, kept, 6);
    cr_assert_str_eq(kept, "ollama");
}

Test(key, is_checked_by_configuration) {
    json_t *plain = json_pack("{s:s}", "use", "mutate"), *named = json_pack("{s:s}", "api_key_env", "AIRA_TEST_KEY_2");
    aira_error error = {0};
    cr_assert_eq(aira__key_check(plain, &error), AIRA_OK);
    cr_assert_eq(aira__key_check(named, &error), AIRA_E_DENIED);
    setenv("AIRA_TEST_KEY_2", SECRET, 1);
    cr_assert_eq(aira__key_check(named, &error), AIRA_OK);
    json_decref(plain);
    json_decref(named);
}
