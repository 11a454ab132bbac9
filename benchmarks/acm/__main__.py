"""python -m benchmarks.acm"""

from benchmarks.acm.main import main

if __name__ == "__main__":
    main()
