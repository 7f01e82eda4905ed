package e2e

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"keystay/e2e/internal/world"
)

// A wallClock is the clock of one program, which the test sets: what the program reads as
// the time of day is moved, and what it measures lengths of time with is not, as when
// somebody sets a machine's clock.
//
// A program of Go reads the time by the code that the kernel puts into each process, the
// vDSO. In this one process that code is exchanged, before its first instruction, for one
// that asks the kernel and adds a number; the test writes that number into its memory.
type wallClock struct {
	memory *os.File
	offset int64 // where the number is
}

// readTime is clock_gettime(edi, rsi) of the kernel; to CLOCK_REALTIME, which is 0, it adds
// the eight bytes behind it, in seconds.
var readTime = []byte{
	0xb8, 0xe4, 0, 0, 0, //             mov  eax, 228
	0x0f, 0x05, //                      syscall
	0x85, 0xff, //                      test edi, edi
	0x75, 0x0a, //                      jne  over the next two
	0x48, 0x8b, 0x0d, 0x0e, 0, 0, 0, // mov  rcx, [rip+14], the number
	0x48, 0x01, 0x0e, //                add  [rsi], rcx
	0xc3,                         // ret
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // up to 32
}

// launchWithClock starts a program whose clock can be set, and is set so from its first
// instruction on.
func launchWithClock(cmd *exec.Cmd, by time.Duration) (*world.Process, *wallClock, error) {
	runtime.LockOSThread() // it is the tracer
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Ptrace = true // it stops before its first instruction
	var c *wallClock
	p, err := world.LaunchStopped(cmd, func(pid int) (err error) {
		c, err = startWithClock(pid, by)
		return err
	})
	return p, c, err
}

// startWithClock gives a program that was started to be traced a clock, sets it, and lets
// the program go on. The caller is on the thread that has started it.
func startWithClock(pid int, by time.Duration) (c *wallClock, err error) {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return nil, fmt.Errorf("wait for the program's start: %w", err)
	}
	if !status.Stopped() {
		return nil, fmt.Errorf("the program has not stopped at its start: %v", status)
	}
	if c, err = newWallClock(pid); err == nil {
		err = c.set(by)
	}
	return c, cmp.Or(err, syscall.PtraceDetach(pid))
}

var vdsoMapping = regexp.MustCompile(`(?m)^([0-9a-f]+)-([0-9a-f]+) .*\[vdso\]$`)

// newWallClock exchanges the code in a process that is stopped.
func newWallClock(pid int) (*wallClock, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	m := vdsoMapping.FindSubmatch(maps)
	if m == nil {
		return nil, fmt.Errorf("process %d has no vDSO", pid)
	}
	begin, _ := strconv.ParseInt(string(m[1]), 16, 64)
	end, _ := strconv.ParseInt(string(m[2]), 16, 64)
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	image := make([]byte, end-begin)
	if _, err := memory.ReadAt(image, begin); err != nil {
		memory.Close()
		return nil, err
	}
	c, err := exchange(memory, image, begin)
	if err != nil {
		memory.Close()
	}
	return c, err
}

// exchange writes the code into the vDSO that begins there.
func exchange(memory *os.File, image []byte, begin int64) (*wallClock, error) {
	entry, err := clockGettime(image)
	if err != nil {
		return nil, err
	}
	room := bytes.LastIndexFunc(image, func(r rune) bool { return r != 0 })/16*16 + 32 // behind all that is used
	if room+len(readTime)+8 > len(image) {
		return nil, fmt.Errorf("the vDSO has no room, of %d bytes from %d on", len(image), room)
	}
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(int32(int64(room)-entry-5))) // #nosec G115 -- within one image
	if _, err := memory.WriteAt(append(bytes.Clone(readTime), make([]byte, 8)...), begin+int64(room)); err != nil {
		return nil, err
	}
	if _, err := memory.WriteAt(jump, begin+entry); err != nil {
		return nil, err
	}
	return &wallClock{memory, begin + int64(room+len(readTime))}, nil
}

// clockGettime is where the function of that name begins in a vDSO.
func clockGettime(image []byte) (int64, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return int64(s.Value), nil // #nosec G115 -- within one image
		}
	}
	return 0, fmt.Errorf("the vDSO has no clock_gettime")
}

// set puts the program's clock as far before the machine's, or behind it.
func (c *wallClock) set(by time.Duration) error {
	seconds := uint64(int64(by / time.Second)) // #nosec G115 -- as it is in memory
	_, err := c.memory.WriteAt(binary.LittleEndian.AppendUint64(nil, seconds), c.offset)
	return err
}

// close ends the access to the program's memory.
func (c *wallClock) close() { c.memory.Close() }
