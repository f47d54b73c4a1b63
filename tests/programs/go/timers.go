// Goroutines, timers and tickers as a Go program uses them, and a clock that is read without system calls.
//
// Prints KTAP. It is linked statically and finds its vDSO by itself: Go has no C library.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How late a timer may be on a busy host; being early is never forgiven.
const late = 5 * time.Second

func goroutines() string {
	sums := make(chan int)
	var group sync.WaitGroup
	for number := 1; number <= 200; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			time.Sleep(time.Duration(number%7) * time.Millisecond)
			sums <- number
		}(number)
	}
	go func() { group.Wait(); close(sums) }()
	sum := 0
	for number := range sums {
		sum += number
	}
	return expect("sum", sum, 20100)
}

func sleeping() string {
	for _, length := range []time.Duration{time.Microsecond, time.Millisecond, 30 * time.Millisecond} {
		start := time.Now()
		time.Sleep(length)
		if why := within(time.Since(start), length); why != "" {
			return why
		}
	}
	return ""
}

func timers() string {
	start, fired := time.Now(), make(chan time.Duration, 2)
	time.AfterFunc(20*time.Millisecond, func() { fired <- time.Since(start) })
	stopped := time.AfterFunc(10*time.Millisecond, func() { fired <- 0 })
	if !stopped.Stop() {
		return "a timer that was set just now could not be stopped"
	}
	return within(<-fired, 20*time.Millisecond)
}

func tickers() string {
	start, ticker := time.Now(), time.NewTicker(5*time.Millisecond)
	defer ticker.Stop()
	for count := 0; count < 10; count++ {
		<-ticker.C
	}
	// A slow reader misses ticks, but none comes early.
	return within(time.Since(start), 50*time.Millisecond)
}

func deadlines() string {
	start := time.Now()
	limited, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	select {
	case <-limited.Done():
		return within(time.Since(start), 20*time.Millisecond)
	case <-make(chan int):
		return "a channel without a sender spoke"
	}
}

// What the kernel counted of this thread's calls, or -1 where it does not count.
func calls(file int) int {
	var text [32]byte
	length, err := syscall.Pread(file, text[:], 0)
	if err != nil {
		return -1
	}
	count, err := strconv.Atoi(strings.TrimSpace(string(text[:length])))
	if err != nil {
		return -1
	}
	return count
}

func readings() string {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	file, err := syscall.Open("/proc/thread-self/syscall_count", syscall.O_RDONLY, 0)
	if err != nil {
		return "SKIP the kernel does not count calls"
	}
	// The runtime interrupts a thread by a signal now and then, whose handler returns by a call: the least counts.
	least := 1 << 30
	for attempt := 0; attempt < 10; attempt++ {
		before := calls(file)
		for reading := 0; reading < 500; reading++ {
			time.Now()
		}
		if made := calls(file) - before - 1; made < least {
			least = made
		}
	}
	return expect("system calls of 500 readings", least, 0)
}

func steadily() string {
	before := time.Now()
	for reading := 0; reading < 100000; reading++ {
		now := time.Now()
		if now.Sub(before) < 0 {
			return fmt.Sprint("the clock went back by ", before.Sub(now))
		}
		before = now
	}
	return ""
}

func expect(what string, got, expected int) string {
	if got == expected {
		return ""
	}
	return fmt.Sprint(what, ": expected ", expected, ", got ", got)
}

func within(got, least time.Duration) string {
	if least <= got && got <= least+late {
		return ""
	}
	return fmt.Sprint("took ", got, ", not ", least)
}

func main() {
	cases := []struct {
		rule  string
		check func() string
	}{
		{"200 goroutines send their numbers", goroutines},
		{"time.Sleep is never early", sleeping},
		{"a timer fires once, a stopped one never", timers},
		{"a ticker ticks in time", tickers},
		{"a context ends at its deadline", deadlines},
		{"time.Now makes no system call", readings},
		{"time.Now never goes back", steadily},
	}
	fmt.Printf("KTAP version 1\n1..%d\n", len(cases))
	status := 0
	for number, each := range cases {
		switch why := each.check(); {
		case why == "":
			fmt.Printf("ok %d %s\n", number+1, each.rule)
		case strings.HasPrefix(why, "SKIP"):
			fmt.Printf("ok %d %s # %s\n", number+1, each.rule, why)
		default:
			fmt.Printf("not ok %d %s # why: %s\n", number+1, each.rule, why)
			status = 1
		}
	}
	os.Exit(status)
}
