/* sandbox - see sandbox.h. */
#include "sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem.h"

#define MAX_FILES	65536
#define X32		0x40000000u	/* numbers of that ABI, x86_64 only */

#if defined(__x86_64__)
#define ARCH	AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH	AUDIT_ARCH_AARCH64
#else
#define ARCH	0
#endif

/* Its leak checker makes a process that traces this one. */
extern void __sanitizer_set_death_callback(void (*)(void))
    __attribute__((weak));

static const uint32_t forbidden[] = {
	/* other programs and processes */
	__NR_execve, __NR_execveat, __NR_process_vm_readv,
	__NR_process_vm_writev, __NR_setns, __NR_unshare,
#ifdef __NR_fork
	__NR_fork, __NR_vfork,
#endif
	/* file systems */
	__NR_mount, __NR_umount2, __NR_pivot_root, __NR_chroot, __NR_swapon,
	__NR_swapoff, __NR_acct, __NR_quotactl, __NR_open_by_handle_at,
	__NR_move_mount, __NR_open_tree, __NR_fsopen, __NR_fsconfig,
	__NR_fsmount, __NR_fspick,
	/* the kernel and the machine */
	__NR_bpf, __NR_perf_event_open, __NR_userfaultfd, __NR_init_module,
	__NR_finit_module, __NR_delete_module, __NR_kexec_load,
#ifdef __NR_kexec_file_load
	__NR_kexec_file_load,
#endif
#ifdef __NR_iopl
	__NR_iopl, __NR_ioperm, __NR_modify_ldt,
#endif
	__NR_reboot, __NR_sethostname, __NR_setdomainname, __NR_settimeofday,
	__NR_clock_settime, __NR_clock_adjtime, __NR_adjtimex, __NR_syslog,
	__NR_add_key, __NR_request_key, __NR_keyctl,
	/* ids */
	__NR_setuid, __NR_setgid, __NR_setreuid, __NR_setregid,
	__NR_setresuid, __NR_setresgid, __NR_setgroups, __NR_setfsuid,
	__NR_setfsgid, __NR_capset,
};

/* ---- the filter: struct seccomp_data in, a verdict out ------------------- */

typedef VEC(struct sock_filter) filter;

static void
add(filter *f, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
	struct sock_filter one = { code, yes, no, k };

	VEC_PUSH(f, one);
}

static void
load(filter *f, size_t at)
{
	add(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)at, 0, 0);
}

static void
give(filter *f, uint32_t verdict)
{
	add(f, BPF_RET | BPF_K, verdict, 0, 0);
}

/* The value loaded last is k: that verdict. */
static void
on(filter *f, uint32_t k, uint32_t verdict)
{
	add(f, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
	give(f, verdict);
}

/* The lower half of an argument; both machines are little endian. */
static size_t
arg(int i)
{
	return offsetof(struct seccomp_data, args) + 8 * (size_t)i;
}

/* clone(2) makes threads only. */
static void
add_clone(filter *f)
{
	add(f, BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 4);
	load(f, arg(0));
	add(f, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0);
	give(f, SECCOMP_RET_KILL_PROCESS);
	give(f, SECCOMP_RET_ALLOW);
}

static void
add_socket(filter *f)
{
	static const uint32_t good[] = { AF_UNIX, AF_INET, AF_INET6,
	    AF_NETLINK };
	size_t i;

	add(f, BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 10);
	load(f, arg(0));
	for (i = 0; i < 4; i++)
		on(f, good[i], SECCOMP_RET_ALLOW);
	give(f, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
}

/* Typing into the terminal that started us. */
static void
add_ioctl(filter *f)
{
	add(f, BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 4);
	load(f, arg(1));
	on(f, TIOCSTI, SECCOMP_RET_KILL_PROCESS);
	give(f, SECCOMP_RET_ALLOW);
}

static void
build(filter *f)
{
	size_t i;

	load(f, offsetof(struct seccomp_data, arch));
	add(f, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	give(f, SECCOMP_RET_KILL_PROCESS);
	load(f, offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
	add(f, BPF_JMP | BPF_JGE | BPF_K, X32, 0, 1);
	give(f, SECCOMP_RET_KILL_PROCESS);
#endif
	for (i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		on(f, forbidden[i], SECCOMP_RET_KILL_PROCESS);
	/* Its flags lie in memory, where a filter cannot look: glibc goes on
	 * with clone(2). */
	on(f, __NR_clone3, SECCOMP_RET_ERRNO | ENOSYS);
	/* It would make system calls that pass no filter. */
	on(f, __NR_io_uring_setup, SECCOMP_RET_ERRNO | ENOSYS);
	if (__sanitizer_set_death_callback == NULL) {
		on(f, __NR_ptrace, SECCOMP_RET_KILL_PROCESS);
		add_clone(f);
	}
	add_socket(f);
	add_ioctl(f);
	give(f, SECCOMP_RET_ALLOW);
}

/* ---- what a daemon calls --------------------------------------------------- */

int
sandbox_enter(struct err *err)
{
	const struct rlimit none = { 0, 0 };
	struct sock_fprog prog;
	filter f = { NULL, 0, 0 };
	long rc;

	(void)setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ARCH == 0)
		return err_sys(err, ERR_UNAVAIL, ARCH == 0 ? ENOSYS : errno,
		    "sandbox: no_new_privs");
	build(&f);
	prog = (struct sock_fprog){ (unsigned short)f.n, f.p };
	rc = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
	    SECCOMP_FILTER_FLAG_TSYNC, &prog);
	if (rc != 0)
		err_sys(err, ERR_UNAVAIL, rc > 0 ? EBUSY : errno,
		    "sandbox: seccomp");
	VEC_FREE(&f);
	return rc == 0 ? 0 : -1;
}

void
sandbox_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= MAX_FILES)
		return;
	r.rlim_cur = r.rlim_max < MAX_FILES ? r.rlim_max : MAX_FILES;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}
