module github.com/poolfleet/poolfleet/hack/images

go 1.26.0
