"""Tables as Hudi lays them out in the object store, for readers, without Spark: one commit of base files."""
