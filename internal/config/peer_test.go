package config_test

import (
	"strings"
	"testing"

	"tributary/internal/config"
)

func TestPeerAndBucketAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	db := []string{"serve", "--database-url", "postgres://h/d"}
	for name, c := range map[string]struct {
		args []string
		want string // in the error; empty: taken
	}{
		"a peer":                 {append(db, "--peer", "10.0.0.1:7000", "--peer-secret", "sixteen letters!"), ""},
		"a secret alone":         {append(db, "--peer-secret", "short"), ""},
		"no secret":              {append(db, "--peer", "10.0.0.1:7000"), "--peer-secret"},
		"a short secret":         {append(db, "--peer", "10.0.0.1:7000", "--peer-secret", "short"), "16 characters"},
		"no address":             {append(db, "--peer", "0.0.0.0:7000", "--peer-secret", "sixteen letters!"), "could reach"},
		"an embedded database":   {[]string{"serve", "--peer", "10.0.0.1:7000", "--peer-secret", "sixteen letters!"}, "--database-url"},
		"a bucket":               {append(db, "--blob-url", "s3://k:s@h:9000/files/here?region=eu&tls=off"), ""},
		"a bucket without name":  {append(db, "--blob-url", "s3://k:s@h:9000/"), "--blob-url"},
		"a bucket without keys":  {append(db, "--blob-url", "s3://h/files"), "--blob-url"},
		"a bucket with a typo":   {append(db, "--blob-url", "s3://k:s@h/files?regin=eu"), "--blob-url"},
		"another sort of bucket": {append(db, "--blob-url", "https://k:s@h/files"), "--blob-url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := config.Parse(c.args, env(), &strings.Builder{})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("the error is %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "k:s@") {
				t.Errorf("the error shows the keys: %v", err)
			}
		})
	}
}

func TestABucketIsRead(t *testing.T) {
	t.Parallel()
	_, c := parse(t, []string{"serve", "--blob-url", "s3://k:s@h:9000/files/a/b?region=eu&tls=off&bucket=host"}, env())
	b, err := c.Bucket()
	if err != nil || *b != (config.Bucket{Endpoint: "http://h:9000", Region: "eu", Name: "files", Prefix: "a/b", AccessKey: "k", SecretKey: "s", InHost: true}) {
		t.Errorf("%+v, %v", b, err)
	}
}
