// Package e2e follows the operator's guide with the built programs, a real
// MariaDB and a devnet chain, and kills processes while they prove. Its tests
// carry the build tag e2e and run with `make e2e`.
package e2e
