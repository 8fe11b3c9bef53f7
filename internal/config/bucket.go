package config

import (
	"errors"
	"net/url"
	"strings"
)

// Bucket is what --blob-url says.
type Bucket struct {
	Endpoint             string // http://host:port or https://host
	Region, Name, Prefix string
	AccessKey, SecretKey string
	// InHost asks for bucket.host instead of host/bucket.
	InHost bool
}

var errBucket = errors.New("--blob-url must have the form s3://KEY:SECRET@HOST[:PORT]/BUCKET[/PREFIX], behind a ? perhaps region=R, tls=off, bucket=host")

// Bucket reads --blob-url; nil where there is none. Parse has refused what it cannot read.
func (c *Config) Bucket() (*Bucket, error) {
	if !c.BlobURL.Set() {
		return nil, nil
	}
	u, err := url.Parse(c.BlobURL.Clear())
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User == nil {
		return nil, errBucket
	}
	secret, _ := u.User.Password()
	name, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	b := &Bucket{Endpoint: "https://" + u.Host, Name: name, Prefix: prefix, AccessKey: u.User.Username(), SecretKey: secret}
	if name == "" || b.AccessKey == "" || secret == "" {
		return nil, errBucket
	}
	for key, values := range u.Query() {
		switch v := values[0]; {
		case key == "region":
			b.Region = v
		case key == "tls" && v == "off":
			b.Endpoint = "http://" + u.Host
		case key == "bucket" && v == "host":
			b.InHost = true
		default:
			return nil, errBucket
		}
	}
	return b, nil
}
