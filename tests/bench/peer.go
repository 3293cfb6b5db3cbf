// Go's channels, for scale: values of one program, typed and not pickled. Called as measure.py says.
package main

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

const capacity = 1024
const batch = 16

var seconds float64

type record struct {
	id    int
	name  string
	value float64
	done  bool
}

func span(part float64) time.Duration {
	return time.Duration(seconds * part * float64(time.Second))
}

func tell(row string, value float64) {
	fmt.Printf("{\"row\": \"%s\", \"peer\": \"go\", \"value\": %.9g}\n", row, value)
}

func percentile(samples []float64, part float64) float64 {
	sort.Float64s(samples)
	return samples[int(float64(len(samples))*part)]
}

// The microseconds of each call, after a warm-up; once() returns what it took itself.
func repeat(once func() time.Duration) []float64 {
	for end := time.Now().Add(span(0.2)); time.Now().Before(end); {
		once()
	}
	var samples []float64
	for end := time.Now().Add(span(1)); len(samples) < 4 || time.Now().Before(end); {
		samples = append(samples, float64(once().Nanoseconds())/1000)
	}
	return samples
}

func roundTrips[T any](obj T) []float64 {
	there, back := make(chan T, 1), make(chan T, 1)
	go func() {
		for value := range there {
			back <- value
		}
	}()
	defer close(there)
	return repeat(func() time.Duration {
		start := time.Now()
		there <- obj
		obj = <-back
		return time.Since(start)
	})
}

func pour[T any](ch chan<- T, obj T) {
	for end := time.Now().Add(span(1)); time.Now().Before(end); {
		for i := 0; i < batch; i++ {
			ch <- obj
		}
	}
}

func rate(count int, took time.Duration) float64 {
	return float64(count) / took.Seconds()
}

// The values on the way to one receiver, a second.
func drain[T any](ch <-chan T) float64 {
	<-ch
	start, count := time.Now(), 0
	for range ch {
		count++
	}
	return rate(count, time.Since(start))
}

func oneWay[T any](obj T) float64 {
	ch, result := make(chan T, capacity), make(chan float64)
	go func() { result <- drain(ch) }()
	pour(ch, obj)
	close(ch)
	return <-result
}

func fanIn(n int) float64 {
	ch, done := make(chan int, capacity), make(chan bool)
	for i := 0; i < n; i++ {
		go func() {
			pour(ch, 1)
			done <- true
		}()
	}
	go func() {
		for i := 0; i < n; i++ {
			<-done
		}
		close(ch)
	}()
	return drain(ch)
}

func fanOut(n int) float64 {
	ch, counts := make(chan int, capacity), make(chan int)
	for i := 0; i < n; i++ {
		go func() {
			count := 0
			for range ch {
				count++
			}
			counts <- count
		}()
	}
	start, total := time.Now(), 0
	pour(ch, 1)
	close(ch)
	for i := 0; i < n; i++ {
		total += <-counts
	}
	return rate(total, time.Since(start))
}

func selectCost(n int) float64 {
	channels, cases, turn := make([]chan int, n), make([]reflect.SelectCase, n), 0
	for i := range channels {
		channels[i] = make(chan int, 1)
		cases[i] = reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(channels[i])}
	}
	return percentile(repeat(func() time.Duration {
		turn = (turn + 617) % n
		channels[turn] <- turn
		start := time.Now()
		if n == 2 {
			select {
			case <-channels[0]:
			case <-channels[1]:
			}
		} else {
			reflect.Select(cases)
		}
		return time.Since(start)
	}), 0.5)
}

func startCost() float64 {
	ch := make(chan bool, 1)
	return percentile(repeat(func() time.Duration {
		start := time.Now()
		go func() { ch <- true }()
		<-ch
		return time.Since(start)
	}), 0.5)
}

var sink int

func busy(n int) {
	total := 0
	for i := 0; i < n; i++ {
		total += i * i % 7
	}
	sink = total
}

func speedUp() float64 {
	n, done := 1<<16, make(chan bool)
	for took := time.Duration(0); took < span(1.0/12); n *= 2 {
		start := time.Now()
		busy(n)
		took = time.Since(start)
	}
	var samples []float64
	for i := 0; i < 5; i++ {
		start := time.Now()
		busy(n)
		busy(n)
		one := time.Since(start)
		start = time.Now()
		for j := 0; j < 2; j++ {
			go func() {
				busy(n)
				done <- true
			}()
		}
		<-done
		<-done
		samples = append(samples, one.Seconds()/time.Since(start).Seconds())
	}
	return percentile(samples, 0.5)
}

func tinyTasks(count int) float64 {
	type pair struct{ x, value int }
	tasks, results, done := make(chan int, capacity), make(chan pair, capacity), make(chan bool)
	start := time.Now()
	for i := 0; i < runtime.NumCPU(); i++ {
		go func() {
			for x := range tasks {
				results <- pair{x, x + 1}
			}
			done <- true
		}()
	}
	go func() {
		for x := 0; x < count; x++ {
			tasks <- x
		}
		close(tasks)
		for i := 0; i < runtime.NumCPU(); i++ {
			<-done
		}
		close(results)
	}()
	values := make([]int, count)
	for each := range results {
		values[each.x] = each.value
	}
	return rate(count, time.Since(start))
}

func measure(row string) {
	n, _ := strconv.Atoi(row[strings.LastIndex(row, "_")+1:])
	switch {
	case row == "round_trip_int":
		tell(row, percentile(roundTrips(12345), 0.5))
	case row == "round_trip_int_p99":
		tell(row, percentile(roundTrips(12345), 0.99))
	case row == "one_way_int":
		tell(row, oneWay(12345))
	case row == "one_way_str100":
		tell(row, oneWay(strings.Repeat("x", 100)))
	case row == "one_way_dict":
		tell(row, oneWay(&record{12345, "interlace", 0.5, true}))
	case strings.HasPrefix(row, "buffer_"):
		tell(row, percentile(roundTrips(make([]byte, 64)), 0.5)/2)
	case strings.HasPrefix(row, "fan_in_"):
		tell(row, fanIn(n))
	case strings.HasPrefix(row, "fan_out_"):
		tell(row, fanOut(n))
	case strings.HasPrefix(row, "select_"):
		tell(row, selectCost(n))
	case row == "start_cold":
		tell(row, startCost())
	case row == "cpu_two_workers":
		tell(row, speedUp())
	case row == "tiny_tasks":
		tell(row, tinyTasks(100000))
	}
}

func main() {
	seconds, _ = strconv.ParseFloat(os.Args[1], 64)
	for _, row := range os.Args[2:] {
		measure(row)
	}
}
