package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// side is one of two things that are compared: it works for about so long and says how much it did in a second.
type side func(d time.Duration) float64

// against lets product and floor work in turns (A B, B A, …), so that what else the machine does hurts both, and
// reports the medians: the rates, and the share of the floor's speed that the product reaches.
func against(b *testing.B, rounds int, each time.Duration, unit string, product, floor side) {
	var p, f, share []float64
	for n := range rounds {
		var x, y float64
		if n%2 == 0 {
			x, y = product(each), floor(each)
		} else {
			y, x = floor(each), product(each)
		}
		p, f, share = append(p, x), append(f, y), append(share, x/y)
	}
	b.ReportMetric(median(p), unit)
	b.ReportMetric(median(f), "floor-"+unit)
	b.ReportMetric(median(share), "of-floor")
	quiet(b)
}

// quiet leaves out ns/op, which would be the length of the whole measurement.
func quiet(b *testing.B) { b.ReportMetric(0, "ns/op") }

func median(v []float64) float64 { return quantile(v, 0.5) }

// quantile is the smallest value that at least this share of the values does not exceed.
func quantile[T int64 | float64 | time.Duration](v []T, q float64) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

// milliseconds for a metric.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// crowd lets so many clients do one thing again and again for about so long, and returns how often in a second it was
// done. An error ends the measurement: a run with errors is void.
func crowd(b *testing.B, clients int, d time.Duration, do func(ctx context.Context, client int) error) float64 {
	b.Helper()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		done   int
		failed error
	)
	began := time.Now()
	for k := range clients {
		wg.Go(func() {
			n := 0
			for time.Since(began) < d {
				if err := do(b.Context(), k); err != nil {
					mu.Lock()
					failed = fmt.Errorf("client %d: %w", k, err)
					mu.Unlock()
					return
				}
				n++
			}
			mu.Lock()
			done += n
			mu.Unlock()
		})
	}
	wg.Wait()
	if failed != nil {
		b.Fatal(failed)
	}
	return float64(done) / time.Since(began).Seconds()
}

func traced(seen func(query string)) func(context.Context, string) {
	return func(_ context.Context, query string) { seen(query) }
}
