package badday_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"tributary/test/rig"
)

const (
	diskSize   = 16 << 20
	fillerSize = 5 << 20
	fileSize   = 1 << 20
)

// TestDiskFull fills the data folder's file system: whoever sends hears a clear error, nothing is acknowledged without a
// row, reads go on, and when there is room again the service recovers by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, fillerSize), 0o600); err != nil {
		t.Fatal(err)
	}
	n := rig.Start(t, rig.Options{Data: filepath.Join(dir, "data")})
	w := open(t, n)
	start := cursor(t, w.Admin)
	d := &disk{office: w, agent: w.NewAgent(t, "Ann", "admin"), acked: map[string]int{}}
	d.announce(t, 12)
	d.deliver(t)
	d.fill(t)
	d.whileFull(t, start)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	d.recovers(t)
	var stored []string
	rig.Eventually(t, 90*time.Second, "everything acknowledged is there", func() bool {
		stored = stored[:0]
		for _, e := range pull(t, w.Admin, start, `subject{... on Message{externalId}}`, "MESSAGE_CREATED") {
			stored = append(stored, e.At("subject", "externalId").String())
		}
		return len(account(d.acked, stored)) == 0
	})
	report(t, account(d.acked, stored))
	d.files(t)
	w.goesOn(t)
	if err := n.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	figures(t, "%d messages and %d files were taken, %d refused while full", len(d.acked), len(d.put), d.refused.Load())
	whole(t, n.Opts.Data)
}

// smallDisk mounts a file system of 16 MB. Without the right to mount it skips loudly, or fails where a skip is no
// option.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskSize)); err != nil {
		if os.Getenv("TEST_REQUIRE_SERVERS") == "1" {
			t.Fatalf("TEST_REQUIRE_SERVERS=1, but a small file system cannot be mounted: %v", err)
		}
		t.Skipf("\n########################################################################\n# SKIPPED: a small file system cannot be mounted: %v\n"+
			"# What this test proves has NOT been proved by this run.\n########################################################################", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// disk is what was sent to a node whose disk gets full.
type disk struct {
	*office
	agent   *rig.Agent
	targets []target
	put     []target // taken
	acked   map[string]int
	refused atomic.Int64
}

type target struct{ id, url string }

// announce gets addresses while there is room for their rows.
func (d *disk) announce(t *testing.T, n int) {
	t.Helper()
	for range n {
		v := d.agent.Must(t, `mutation($b:Long!){attachmentUploadCreate(input:{name:"a.bin",contentType:"application/octet-stream",bytes:$b}){target{url attachment{id}} userErrors{code message}}}`,
			rig.M{"b": fileSize}).At("attachmentUploadCreate", "target")
		d.targets = append(d.targets, target{v.At("attachment", "id").String(), v.At("url").String()})
	}
}

// deliver uploads and sends one of each, so that the refusals to come have their cause in the disk.
func (d *disk) deliver(t *testing.T) {
	t.Helper()
	for range 60 {
		if !d.message(t, 5000) {
			t.Fatal("refused before the disk was full")
		}
	}
	if !d.upload(t) {
		t.Fatal("refused before the disk was full")
	}
}

// upload puts the next file; false if it was refused.
func (d *disk) upload(t *testing.T) bool {
	t.Helper()
	code, err := put(d.targets[0].url, bytes.NewReader(content(d.targets[0])), fileSize)
	switch {
	case err == nil && code == http.StatusNoContent:
		d.put, d.targets = append(d.put, d.targets[0]), d.targets[1:]
		return true
	case err != nil || code != http.StatusServiceUnavailable && code != http.StatusInsufficientStorage:
		t.Errorf("put on a full disk: %d %v", code, err)
	}
	d.refused.Add(1)
	return false
}

// content is a file's bytes, told from every other's.
func content(f target) []byte {
	return bytes.Repeat([]byte(f.id), fileSize/len(f.id)+1)[:fileSize]
}

// message delivers one of so many letters; false if it was refused. It is not repeated: a later one has another id.
func (d *disk) message(t *testing.T, size int) bool {
	t.Helper()
	id := rig.Unique("m")
	code, body, err := d.bridge.Deliver(context.Background(), rig.Text(id, "t-"+id, "u-"+id, strings.Repeat("x", size)))
	switch {
	case err == nil && code == http.StatusOK:
		d.acked[id]++
		return true
	case err != nil || code != http.StatusServiceUnavailable:
		t.Errorf("a hook on a full disk: %d %s %v", code, body, err)
	}
	d.refused.Add(1)
	return false
}

// fill puts files until there is no room for one, then messages until there is no room for a small one.
func (d *disk) fill(t *testing.T) {
	t.Helper()
	for d.upload(t) {
		if len(d.targets) == 0 {
			t.Fatal("the disk did not get full")
		}
	}
	until := time.Now().Add(60 * time.Second)
	for size := 50_000; size > 0; {
		if !d.message(t, size) {
			size /= 10
		}
		if time.Now().After(until) {
			t.Fatal("the disk did not get full of messages")
		}
	}
}

// whileFull looks around on a full disk.
func (d *disk) whileFull(t *testing.T, start string) {
	t.Helper()
	for range 20 {
		d.message(t, 10)
		d.upload(t)
	}
	for _, doc := range []string{`mutation{queueCreate(input:{name:"one more"}){queue{id} userErrors{code}}}`, `mutation{teamCreate(input:{name:"one more"}){team{id} userErrors{code}}}`} {
		if o := d.Admin.Try(context.Background(), doc, nil); o.Err != nil || !o.Done() && o.Refused.Code == "" && o.Coded != "INTERNAL" {
			t.Errorf("an operation on a full disk: %s", o)
		}
	}
	if d.refused.Load() < 20 {
		t.Errorf("only %d refusals: the disk was not full", d.refused.Load())
	}
	if status(d.Node.URL+"/healthz") != http.StatusOK {
		t.Error("/healthz does not answer")
	}
	select {
	case <-d.Node.Ended():
		t.Fatal("the process ended")
	default:
	}
	if len(pull(t, d.Admin, start, "")) == 0 || len(d.Admin.Must(t, `{customers(first:5){nodes{id}}}`, nil).At("customers", "nodes").List()) == 0 {
		t.Error("nothing can be read")
	}
	d.files(t)
}

// recovers waits until messages and files are taken again. The refused file's address still stands.
func (d *disk) recovers(t *testing.T) {
	t.Helper()
	began := time.Now()
	rig.Eventually(t, 60*time.Second, "messages are taken again", func() bool { return d.message(t, 10) })
	rig.Eventually(t, 60*time.Second, "files are taken again", func() bool { return d.upload(t) })
	figures(t, "takes in again %s after there was room", time.Since(began).Round(time.Millisecond))
}

// files reads every file that was taken.
func (d *disk) files(t *testing.T) {
	t.Helper()
	for _, f := range d.put {
		url := d.Admin.Must(t, `query($i:ID!){node(id:$i){... on Attachment{url state}}}`, rig.M{"i": f.id}).At("node", "url").String()
		if url == "" { // not shown to others before it belongs to a message
			url = d.agent.Must(t, `query($i:ID!){attachment(id:$i){url}}`, rig.M{"i": f.id}).At("attachment", "url").String()
		}
		if got := fetch(t, url); !bytes.Equal(got, content(f)) {
			t.Errorf("file %s has %d other bytes", f.id, len(got))
		}
	}
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(res.Body)
	return b.Bytes()
}

// whole asks the database itself whether it is.
func whole(t *testing.T, data string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(data, "*.db"))
	if err != nil || len(found) != 1 {
		t.Fatalf("databases in %s: %v %v", data, found, err)
	}
	db, err := sql.Open("sqlite", "file:"+found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var said string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
		t.Errorf("integrity_check: %q %v", said, err)
	}
}
