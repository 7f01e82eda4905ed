package duplex_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/internal/duplex"
)

// ways are the copies that the benchmarks compare. None has a goroutine that
// only waits.
var ways = []struct {
	name  string
	start func(a, b *net.TCPConn, done func())
}{
	{"iocopy", func(a, b *net.TCPConn, done func()) {
		var ended atomic.Int32
		copyTo := func(dst, src *net.TCPConn) {
			io.Copy(dst, src)
			dst.CloseWrite()
			if ended.Add(1) == 2 {
				a.Close()
				b.Close()
				done()
			}
		}
		go copyTo(a, b)
		go copyTo(b, a)
	}},
	{"duplex", func(a, b *net.TCPConn, done func()) {
		duplex.Start(a, b, duplex.Options{}, func(duplex.Result) { done() })
	}},
	{"buffer", func(a, b *net.TCPConn, done func()) {
		duplex.Start(plain{a}, plain{b}, duplex.Options{}, func(duplex.Result) { done() })
	}},
}

// BenchmarkBulk compares the CPU time of this process for a GiB, and the speed,
// with io.Copy's. The far ends are a process of their own. A round is all of
// the ways, one after the other.
func BenchmarkBulk(b *testing.B) {
	const total = 1 << 30
	for _, flows := range []int{1, 8} {
		b.Run(fmt.Sprintf("flows=%d", flows), func(b *testing.B) {
			cpus, speeds := make(map[string][]float64), make(map[string][]float64)
			order := slices.Clone(ways)
			for b.Loop() {
				order = append(order[1:], order[0])
				for _, way := range order {
					cpu, took := bulk(b, flows, total/int64(flows), way.start)
					cpus[way.name] = append(cpus[way.name], cpu.Seconds())
					speeds[way.name] = append(speeds[way.name], total/1e6/took.Seconds())
				}
			}
			for _, way := range ways {
				b.ReportMetric(median(cpus[way.name]), way.name+"-cpu-s/GiB")
				b.ReportMetric(median(speeds[way.name]), way.name+"-MB/s")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func bulk(b *testing.B, flows int, size int64, start func(a, b *net.TCPConn, done func())) (cpu, took time.Duration) {
	var wg sync.WaitGroup
	wg.Add(flows)
	began, before := time.Now(), cpuTime()
	_, end := farPairs(b, flows, size, func(from, to *net.TCPConn) { start(from, to, wg.Done) })
	wg.Wait()
	took, cpu = time.Since(began), cpuTime()-before
	end()
	return cpu, took
}

func cpuTime() time.Duration {
	var r unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkIdle reports what a pair of connections costs that has carried a
// message each way and is quiet.
func BenchmarkIdle(b *testing.B) {
	const pairs = 2000
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				rss, stacks, fds := resident(b), stackBytes(), openFiles(b)
				var wg sync.WaitGroup
				wg.Add(pairs)
				idle, end := farPairs(b, pairs, 0, func(from, to *net.TCPConn) { way.start(from, to, wg.Done) })
				idle()
				b.ReportMetric(float64(openFiles(b)-fds)/pairs, "fds/pair")
				b.ReportMetric(float64(resident(b)-rss)/1024/pairs, "KiB/pair")
				b.ReportMetric(float64(stackBytes()-stacks)/1024/pairs, "stackKiB/pair")
				end()
				wg.Wait()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// resident returns the bytes of memory of this process, after the garbage.
func resident(b *testing.B) int64 {
	runtime.GC()
	debug.FreeOSMemory()
	stat, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(stat))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func stackBytes() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
