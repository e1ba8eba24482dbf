package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	programs["broker-without-inotify"] = func() { refuse(unix.SYS_INOTIFY_INIT1, unix.EMFILE); main() }
	programs["broker-without-watches"] = func() { refuse(unix.SYS_INOTIFY_ADD_WATCH, unix.ENOSPC); main() }
}

// refuse makes a system call fail in every thread of this process, as if the user had reached
// a limit. Other processes are not affected.
func refuse(call uint32, with syscall.Errno) {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(with)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		panic(errno)
	}
}
