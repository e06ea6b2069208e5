// expect: timeout
// tries: starts threads for ever
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *sleepy(void *x) {
    for (;;) pause();
    return x;
}

int main(void) {
    pthread_t thread;
    for (;;) pthread_create(&thread, NULL, sleepy, NULL);
}
