// Prints the CustomResourceDefinitions of the Prometheus Operator, which its module carries.
package main

import (
	"log"
	"os"

	crd "github.com/prometheus-operator/prometheus-operator/example"
)

func main() {
	if err := crd.PrintAll(os.Stdout); err != nil {
		log.Fatal(err)
	}
}
