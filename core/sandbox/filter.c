/* core/sandbox/filter.c - see filter.h. Written as instructions rather than with a library: it is one table and three
 * comparisons, and the program that starts most often needs one library less. */
#include "core/sandbox/filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0
#endif

/* Calls that newer kernels have than these headers may know: one number on every architecture. */
#ifndef __NR_memfd_secret
#define __NR_memfd_secret 447
#endif
#ifndef __NR_process_mrelease
#define __NR_process_mrelease 448
#endif

/* Answered with death. */
static const int deadly[] = {
    /* other processes */
    __NR_ptrace,
    __NR_process_vm_readv,
    __NR_process_vm_writev,
    __NR_kcmp,
    __NR_pidfd_getfd,
    __NR_pidfd_open,
    __NR_pidfd_send_signal,
    __NR_process_madvise,
    __NR_process_mrelease,
    /* name spaces and file systems */
    __NR_mount,
    __NR_umount2,
    __NR_move_mount,
    __NR_open_tree,
    __NR_fsopen,
    __NR_fsconfig,
    __NR_fsmount,
    __NR_fspick,
    __NR_mount_setattr,
    __NR_pivot_root,
    __NR_chroot,
    __NR_setns,
    __NR_unshare,
    __NR_name_to_handle_at,
    __NR_open_by_handle_at,
    __NR_quotactl,
    __NR_acct,
    __NR_swapon,
    __NR_swapoff,
    /* the network, and sockets of any kind */
    __NR_socketpair,
    __NR_bind,
    __NR_connect,
    __NR_listen,
    __NR_accept,
    __NR_accept4,
    __NR_sendmmsg,
    /* the kernel */
    __NR_bpf,
    __NR_perf_event_open,
    __NR_io_uring_setup,
    __NR_io_uring_enter,
    __NR_io_uring_register,
    __NR_userfaultfd,
    __NR_add_key,
    __NR_request_key,
    __NR_keyctl,
    __NR_init_module,
    __NR_finit_module,
    __NR_delete_module,
    __NR_kexec_load,
    __NR_reboot,
    __NR_syslog,
    __NR_fanotify_init,
    /* the machine's clock and names */
    __NR_settimeofday,
    __NR_clock_settime,
    __NR_clock_adjtime,
    __NR_adjtimex,
    __NR_sethostname,
    __NR_setdomainname,
    /* memory that outlives or hides from its process */
    __NR_shmget,
    __NR_semget,
    __NR_msgget,
    __NR_mq_open,
    __NR_memfd_create,
    __NR_memfd_secret,
#ifdef __x86_64__
    __NR_iopl,
    __NR_ioperm,
    __NR_modify_ldt,
    __NR_kexec_file_load,
    __NR_uselib,
    __NR_ustat,
    __NR_nfsservctl,
    __NR_create_module,
    __NR_get_kernel_syms,
    __NR_query_module,
    __NR__sysctl,
    __NR_lookup_dcookie,
#endif
};

/* Also deadly in the strict form: processes, threads, programs, signals to others. */
static const int deadly_strict[] = {
    __NR_clone, __NR_execve,      __NR_execveat,           __NR_kill,
    __NR_tkill, __NR_setpriority, __NR_sched_setscheduler, __NR_sched_setaffinity,
#ifdef __x86_64__
    __NR_fork,  __NR_vfork,
#endif
};

#define CLONE_SPACES                                                                                         \
    ((uint32_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
                CLONE_NEWNET))

typedef struct code {
    struct sock_filter *at;
    size_t n;
} code;

static void put(code *c, uint16_t what, uint32_t k, uint8_t jump_true, uint8_t jump_false) {
    if (c->n < AIRA__FILTER_MAX) c->at[c->n] = (struct sock_filter){what, jump_true, jump_false, k};
    c->n++;
}

static void load(code *c, size_t offset) { put(c, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0); }
static void answer(code *c, uint32_t action) { put(c, BPF_RET | BPF_K, action, 0, 0); }
/* if the loaded word equals k: action */
static void on_equal(code *c, uint32_t k, uint32_t action) {
    put(c, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
    answer(c, action);
}

size_t aira__filter_build(bool strict, struct sock_filter program[AIRA__FILTER_MAX]) {
    code c = {program, 0};
    const uint32_t die = SECCOMP_RET_KILL_PROCESS, missing = SECCOMP_RET_ERRNO | 38, denied = SECCOMP_RET_ERRNO | 1;
    const size_t number = offsetof(struct seccomp_data, nr), first = offsetof(struct seccomp_data, args[0]),
                 second = offsetof(struct seccomp_data, args[1]);
    if (ARCHITECTURE == 0) return 0;
    load(&c, offsetof(struct seccomp_data, arch));
    put(&c, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0); /* 32-bit calls have other numbers */
    answer(&c, die);
    load(&c, number);
#ifdef __x86_64__
    put(&c, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1); /* x32: the same calls by other numbers */
    answer(&c, die);
#endif
    for (size_t k = 0; k < sizeof deadly / sizeof *deadly; k++) on_equal(&c, (uint32_t)deadly[k], die);
    for (size_t k = 0; strict && k < sizeof deadly_strict / sizeof *deadly_strict; k++)
        on_equal(&c, (uint32_t)deadly_strict[k], die);
    on_equal(&c, __NR_clone3, strict ? die : missing);
    /* clone: flags are the first argument; ioctl: what types into a terminal */
    put(&c, BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 4);
    load(&c, first);
    put(&c, BPF_JMP | BPF_JSET | BPF_K, CLONE_SPACES, 0, 1);
    answer(&c, die);
    answer(&c, SECCOMP_RET_ALLOW);
    /* a C library asks a name service by a local socket; it is told no and goes on */
    put(&c, BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 4);
    load(&c, first);
    put(&c, BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 0, 1);
    answer(&c, denied);
    answer(&c, die);
    put(&c, BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 4);
    load(&c, second);
    put(&c, BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 1, 0);
    put(&c, BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 0, 1);
    answer(&c, denied);
    answer(&c, SECCOMP_RET_ALLOW);
    return c.n <= AIRA__FILTER_MAX ? c.n : 0;
}

int aira__filter_install(bool strict) {
    struct sock_filter program[AIRA__FILTER_MAX];
    size_t n = aira__filter_build(strict, program);
    struct sock_fprog whole = {(unsigned short)n, program};
    if (n == 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole, 0, 0);
}
