"""python -m benchmarks.acm"""

from benchmarks.acm.main import main

main()
