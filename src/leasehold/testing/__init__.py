"""Contract suites, simulation, fakes and factories. Shipped, never imported by the product."""
