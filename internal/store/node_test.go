package store_test

import (
	"errors"
	"testing"

	"tributary/internal/store"
)

func TestANodeKeepsItsNameAndIsAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, err := store.OpenNode(dir)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := store.OpenNode(dir); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("a second process came in: %v %v", other, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := store.OpenNode(dir)
	if err != nil || again.Name != n.Name || n.Name == "" {
		t.Fatal(again, err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
