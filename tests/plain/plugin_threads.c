/* tests/plain/plugin_threads.c - the host table and the process service under several threads: commands run at once,
 * and every thread sees its own last failure. For ThreadSanitizer; plain, because Criterion does not work under it.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "aira/ext/process.h"
#include "core/plugin/registry.h"

enum { THREADS = 4, ROUNDS = 8 };

typedef struct job {
    const aira_host *host;
    int number, wrong;
} job;

static void *work(void *argument) {
    job *j = argument;
    const aira_host *host = j->host;
    const aira_process_service *service = host->service(host, AIRA_SERVICE_PROCESS);
    char word[32], missing[32];
    snprintf(word, sizeof word, "thread %d", j->number);
    snprintf(missing, sizeof missing, "no-such-program-%d", j->number);
    for (int round = 0; round < ROUNDS; round++) {
        const char *echo[] = {"printf", "%s", word}, *absent[] = {missing}, *slow[] = {"sleep", "100"};
        char *output = NULL;
        uint64_t n = 0, handle = 0;
        aira_process_state state = {.size = sizeof state};
        j->wrong += service->run(service, echo, 3, NULL, 0, NULL, &output, &n, &state, NULL, NULL) != AIRA_OK ||
                    strcmp(output, word) != 0 || state.exit_status != 0;
        host->release(host, output);
        j->wrong += service->spawn(service, absent, 1, NULL, &handle) == AIRA_OK ||
                    strstr(aira__host_last_failure(host), missing) == NULL;
        j->wrong += service->spawn(service, slow, 2, NULL, &handle) != AIRA_OK ||
                    service->poll(service, handle, &state) != AIRA_OK || state.running != 1;
        service->forget(service, handle);
    }
    return NULL;
}

int main(void) {
    aira_error error = {0};
    aira__registry *registry;
    aira__registry_options options = {.no_builtin = true};
    if (aira__registry_create(&options, &registry, &error) != AIRA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    pthread_t threads[THREADS];
    job jobs[THREADS];
    int wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){aira__registry_host(registry), i, 0};
        if (pthread_create(&threads[i], NULL, work, &jobs[i]) != 0) return 1;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        wrong += jobs[i].wrong;
    }
    aira__registry_destroy(registry);
    printf("%d threads, %d rounds each, %d wrong\n", THREADS, ROUNDS, wrong);
    return wrong != 0;
}
