print("ri-bench")
