package bench

const plainAddr = "BENCH_PLAIN_ADDR"

func servePlain(string) {}
