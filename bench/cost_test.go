package bench

import (
	"syscall"
	"testing"
	"time"

	"entgo.io/ent/dialect"

	"tributary/desk/desktest"
)

// expense is what the two sides cost in processor time, which other work on the machine hardly changes.
type expense struct{ product, floor []float64 }

// report gives the medians for one thing done, and the share: how little of the product's the floor's is.
func (e *expense) report(b *testing.B, thing string) {
	p, f := median(e.product), median(e.floor)
	b.ReportMetric(p, "cpu-ms/"+thing)
	b.ReportMetric(f, "floor-cpu-ms/"+thing)
	b.ReportMetric(f/p, "cpu-of-floor")
}

// costing notes the processor time of each thing that a side does, in milliseconds.
func costing(b *testing.B, w *desktest.World, s side, costs *[]float64) side {
	return func(d time.Duration) float64 {
		before, began := cpuOf(b, w), time.Now()
		rate := s(d)
		done := rate * time.Since(began).Seconds()
		*costs = append(*costs, milliseconds(cpuOf(b, w)-before)/done)
		return rate
	}
}

// cpuOf is what this process and the sessions of its database have used so far.
func cpuOf(b *testing.B, w *desktest.World) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	used := time.Duration(r.Utime.Nano() + r.Stime.Nano())
	if w.Store.Dialect != dialect.Postgres {
		return used
	}
	rows, err := w.Store.DB.QueryContext(b.Context(), `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name NOT LIKE 'pgbench%'`)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p process
		if err := rows.Scan(&p.pid); err != nil {
			b.Fatal(err)
		}
		used += p.cpu(b)
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	return used
}
