package main

import (
	"os"
	"path/filepath"
	"testing"

	"tributary/internal/config"
	"tributary/internal/demo"
	"tributary/internal/store"
)

// TestDemoTouchesNoOtherFolder: what a demo did not make it neither uses nor empties.
func TestDemoTouchesNoOtherFolder(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	cfg := &config.Config{Data: folder, Show: config.Show{Fresh: true}}
	if err := clearStage(cfg); err != nil {
		t.Fatalf("an empty folder: %v", err)
	}
	theirs := filepath.Join(folder, "keys.json")
	if err := os.WriteFile(theirs, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := clearStage(cfg); err == nil {
		t.Error("a folder of somebody else was taken")
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, demo.LedgerName), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	node, err := store.OpenNode(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := clearStage(cfg); err == nil {
		t.Error("the folder of a demo that runs was emptied")
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Show.Fresh = false
	if err := clearStage(cfg); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Error("emptied without --fresh")
	}
	cfg.Show.Fresh = true
	if err := clearStage(cfg); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("not emptied with --fresh: %v", err)
	}
}
